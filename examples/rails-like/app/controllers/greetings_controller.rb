# frozen_string_literal: true

require 'etc'

# Greets whoever asks.
class GreetingsController < ActionController::API
  def show
    render json: { message: "Hello, #{ENV.fetch('NAME', 'world')}!", user: Etc.getpwuid.name, rails: Rails.version }
  end
end
