# frozen_string_literal: true

# The gems are Debian's packages, without Bundler.
require 'logger'
