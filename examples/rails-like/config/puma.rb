# frozen_string_literal: true

threads 1, 5
port ENV.fetch('PORT', '3000')
environment ENV.fetch('RAILS_ENV', 'development')
pidfile ENV['PIDFILE'] if ENV['PIDFILE']
raise_exception_on_sigterm false
