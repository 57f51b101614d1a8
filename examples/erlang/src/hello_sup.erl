-module(hello_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

init([]) ->
    Server = #{id => hello_http, start => {hello_http, start_link, [port()]}},
    {ok, {#{strategy => one_for_one}, [Server]}}.

port() ->
    case os:getenv("PORT") of
        false -> application:get_env(hello, port, 8080);
        Port -> list_to_integer(Port)
    end.
