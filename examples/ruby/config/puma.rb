# frozen_string_literal: true

port ENV.fetch('PORT', '8080')
environment ENV.fetch('RACK_ENV', 'development')
# Being told to end is no failure.
raise_exception_on_sigterm false
