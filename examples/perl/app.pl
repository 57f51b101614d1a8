#!/usr/bin/perl
use Mojolicious::Lite -signatures;

use Mojo::Server::Daemon;

my $port = $ENV{PORT} // 8080;

get '/' => sub ($c) {
    my $name = $ENV{NAME} // 'world';
    $c->render(json => {
        message => "Hello, $name!",
        perl    => sprintf('%vd', $^V),
        user    => scalar getpwuid($<),
    });
};

get '/healthz' => sub ($c) { $c->rendered(204) };

# Tests take the app and start no server.
return app if caller;

my $daemon = Mojo::Server::Daemon->new(app => app, listen => ["http://*:$port"]);

# The first process of a container gets no signal handler from the kernel: without one, `docker stop` would wait and kill.
$SIG{$_} = sub { $daemon->ioloop->stop } for qw(INT TERM);
$daemon->run;
