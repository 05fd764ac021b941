#!/usr/bin/env python3
"""client.py HOST:PORT PROMPT: a client of Catena in Python, for the gateway of `catena up`.

It needs the packages grpcio and grpcio-reflection and no file of Catena's: the gateway describes
its services itself.
"""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)


class Generation:
    """catena.v1.GenerationService, each method by its name; a request is given by its fields."""

    def __init__(self, channel):
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.service = pool.FindServiceByName("catena.v1.GenerationService")
        self.channel = channel

    def __getattr__(self, name):
        method = self.service.FindMethodByName(name)
        request_class = message_factory.GetMessageClass(method.input_type)
        kind = self.channel.unary_stream if name == "Generate" else self.channel.unary_unary
        call = kind(f"/{self.service.full_name}/{name}",
                    request_serializer=request_class.SerializeToString,
                    response_deserializer=message_factory.GetMessageClass(
                        method.output_type).FromString)
        return lambda **fields: call(request_class(**fields), timeout=60)


def main():
    address, prompt = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        generation = Generation(channel)

        for model in generation.ListModels().models:
            print(f"model: {model.name}, {model.vocab_size} tokens")

        ids = generation.Tokenize(text=prompt, add_special_tokens=True).ids
        print("ids:", *ids)

        sampling = {"temperature": 0.8, "top_k": 40, "seed": 7, "max_tokens": 20}
        text = "".join(r.text for r in generation.Generate(text=prompt, sampling=sampling))
        print("text:", text)

        stream = generation.Generate(text=prompt, sampling={"max_tokens": 400, "ignore_eos": True})
        next(stream)
        stream.cancel()
        try:
            for _ in stream:
                pass
        except grpc.RpcError as error:
            print("ended:", error.code().name)


if __name__ == "__main__":
    main()
