# frozen_string_literal: true

require 'etc'
require 'sinatra/base'

# Greets whoever asks.
class Greeter < Sinatra::Base
  set :server, 'webrick'
  set :bind, '0.0.0.0'
  set :port, Integer(ENV.fetch('PORT', '8080'))

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

  # Sinatra stops its server on SIGTERM and SIGINT.
  run! if app_file == $PROGRAM_NAME
end
