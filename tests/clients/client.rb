#!/usr/bin/env ruby
# frozen_string_literal: true

# client.rb HOST:PORT PROMPT: a client of Catena in Ruby, for the gateway of `catena up`.
#
# Its stubs are made by
#   grpc_tools_ruby_protoc -Iproto --ruby_out=DIR --grpc_out=DIR proto/catena/v1/*.proto
# and found with ruby -I DIR.

require "grpc"
require "catena/v1/generation_services_pb"

V1 = Catena::V1

address, prompt = ARGV
service = V1::GenerationService::Stub.new(address, :this_channel_is_insecure, timeout: 60)

service.list_models(V1::ListModelsRequest.new).models.each do |model|
  puts "model: #{model.name}, #{model.vocab_size} tokens"
end

tokens = service.tokenize(V1::TokenizeRequest.new(text: prompt, add_special_tokens: true))
puts "ids: #{tokens.ids.to_a.join(' ')}"

sampling = V1::SamplingOptions.new(temperature: 0.8, top_k: 40, seed: 7, max_tokens: 20)
request = V1::GenerateRequest.new(text: prompt, sampling: sampling)
print "text: #{service.generate(request).map(&:text).join}\n"

endless = V1::SamplingOptions.new(max_tokens: 400, ignore_eos: true)
call = service.generate(V1::GenerateRequest.new(text: prompt, sampling: endless),
                        return_op: true)
begin
  call.execute.each { call.cancel }
rescue GRPC::Cancelled
  puts "ended: CANCELLED"
end
