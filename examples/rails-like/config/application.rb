# frozen_string_literal: true

require_relative 'boot'
require 'rails'
require 'action_controller/railtie'

# An app of one controller.
class Hello < Rails::Application
  config.load_defaults 6.1
  config.eager_load = true
  config.consider_all_requests_local = false
  config.hosts.clear
  config.secret_key_base = ENV.fetch('SECRET_KEY_BASE') { SecureRandom.hex(64) }
  if ENV['RAILS_LOG_TO_STDOUT']
    config.logger = ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new($stdout))
  end
end
