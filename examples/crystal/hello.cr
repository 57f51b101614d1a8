require "http/server"
require "json"

port = ENV.fetch("PORT", "8080").to_i
server = HTTP::Server.new do |context|
  if context.request.path == "/"
    name = ENV.fetch("NAME", "world")
    user = File.read_lines("/etc/passwd").map(&.split(':')).find { |line| line[2]? == LibC.getuid.to_s }
    context.response.content_type = "application/json"
    {message: "Hello, #{name}!", user: user.try(&.first), crystal: Crystal::VERSION}.to_json(context.response)
  else
    context.response.status = HTTP::Status::NOT_FOUND
  end
end
# The first process of a container gets no signal handler from the kernel.
Signal::TERM.trap { exit }
Signal::INT.trap { exit }
server.bind_tcp("0.0.0.0", port)
puts "listening on port #{port}"
server.listen
