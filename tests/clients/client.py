#!/usr/bin/env python3
"""client.py HOST:PORT PROMPT: a client of Catena in Python, for the gateway of `catena up`.

It needs the packages grpcio and grpcio-reflection and no file of Catena's: the gateway describes
its services itself.
"""

import sys
import threading
import time

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)


TIMEOUT_S = 60  # of a call
GATEWAY_S = 30  # until there is a gateway again
PAUSE, PAUSE_S = threading.Event(), 0.05  # between such questions
MOST_TRIES = 5  # of a text that breaks off again and again, without a new token


class Stream:
    """The responses of one Generate. Where it breaks off, since its gateway has gone, whatever
    gateway the channel reaches next is asked for the rest: each token comes once."""

    def __init__(self, start, await_gateway, request):
        self._start, self._await_gateway = start, await_gateway
        self._request = request
        self._ids = [[] for _ in range(request.sampling.n or 1)]
        self._ended = set()  # sequences of which all has come
        self._first = None  # the Start of the first sequence that had one
        self._tries = 0
        self._call = start(request)

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            try:
                response = next(self._call)
                if response.index not in self._ended:
                    return self._take(response)
            except grpc.RpcError as error:
                self._tries += 1
                # What has begun goes on.
                if (error.code() != grpc.StatusCode.UNAVAILABLE or self._first is None
                        or self._tries > MOST_TRIES):
                    raise
                self._await_gateway()
                self._call = self._start(self._rest())

    def cancel(self):
        self._call.cancel()

    def _take(self, response):
        if response.HasField("finish"):
            self._ended.add(response.index)
        if response.HasField("start") and self._first is None:
            self._first = response.start
        if response.token_ids:
            self._ids[response.index].extend(response.token_ids)
            self._tries = 0
        return response

    def _rest(self):
        """The request for what has not come."""
        self._request.sampling.seed = self._first.seed
        self._request.ClearField("resume")
        self._request.resume.numerics_id = self._first.numerics_id
        for ids in self._ids:
            self._request.resume.sequences.add(token_ids=ids)
        return self._request


class Generation:
    """catena.v1.GenerationService, each method by its name; a request is given by its fields.
    Generate gives a Stream."""

    def __init__(self, channel):
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.service = pool.FindServiceByName("catena.v1.GenerationService")
        self.channel = channel

    def _method(self, name):
        """What calls it, and the class of its requests."""
        method = self.service.FindMethodByName(name)
        request_class = message_factory.GetMessageClass(method.input_type)
        kind = self.channel.unary_stream if name == "Generate" else self.channel.unary_unary
        call = kind(f"/{self.service.full_name}/{name}",
                    request_serializer=request_class.SerializeToString,
                    response_deserializer=message_factory.GetMessageClass(
                        method.output_type).FromString)
        return call, request_class

    def __getattr__(self, name):
        call, request_class = self._method(name)
        return lambda **fields: call(request_class(**fields), timeout=TIMEOUT_S)

    def Generate(self, **fields):  # pylint: disable=invalid-name
        generate, generate_request = self._method("Generate")
        return Stream(lambda request: generate(request, timeout=TIMEOUT_S), self._await_gateway,
                      generate_request(**fields))

    def _await_gateway(self):
        list_models, request = self._method("ListModels")
        end = time.monotonic() + GATEWAY_S
        while True:
            left = end - time.monotonic()
            try:
                return list_models(request(), timeout=max(left, 0), wait_for_ready=True)
            except grpc.RpcError as error:
                # The connection that has just broken may take this call with it, and a gateway
                # that has just started does not know its replicas yet.
                if error.code() != grpc.StatusCode.UNAVAILABLE or left <= 0:
                    raise
            PAUSE.wait(PAUSE_S)


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
