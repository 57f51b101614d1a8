# frozen_string_literal: true

require 'etc'
require 'json'
require 'sinatra/base'

# Greets whoever asks.
class Greeter < Sinatra::Base
  before { content_type :json }

  get '/' do
    JSON.generate(
      message: "Hello, #{ENV.fetch('NAME', 'world')}!",
      ruby: RUBY_VERSION,
      user: Etc.getpwuid.name
    )
  end

  get '/healthz' do
    status 204
  end
end
