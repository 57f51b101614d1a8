# frozen_string_literal: true

require 'minitest/autorun'
require 'rack/mock'
require_relative 'app'

# What the app answers.
class GreeterTest < Minitest::Test
  def get(path)
    Rack::MockRequest.new(Greeter).get(path)
  end

  def test_greets
    ENV['NAME'] = 'Ada'
    assert_equal 'Hello, Ada!', JSON.parse(get('/').body)['message']
  end

  def test_knows_nothing_else
    assert_equal 404, get('/nowhere').status
  end
end
