%% Greets whoever asks: a server of inets, and the module that it asks for answers.
-module(hello_http).

-include_lib("inets/include/httpd.hrl").
-include_lib("kernel/include/file.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/1, do/1, greeting/2]).

start_link(Port) ->
    Options = [
        {port, Port},
        {server_name, "hello"},
        {server_root, "/tmp"},
        {document_root, "/tmp"},
        {modules, [?MODULE]}
    ],
    {ok, Server} = inets:start(httpd, Options, stand_alone),
    ?LOG_NOTICE("listening on port ~b", [Port]),
    {ok, Server}.

%% What httpd calls for a request.
do(#mod{method = "GET"}) ->
    Body = greeting(os:getenv("NAME", "world"), user()),
    Head = [{code, 200}, {content_type, "application/json"}, {content_length, integer_to_list(iolist_size(Body))}],
    {proceed, [{response, {response, Head, [Body]}}]};
do(_Request) ->
    {proceed, [{response, {405, []}}]}.

greeting(Name, User) ->
    Fields = [
        {"message", ["Hello, ", Name, "!"]},
        {"erlang", erlang:system_info(otp_release)},
        {"user", User}
    ],
    ["{", lists:join(",", [[quoted(Key), ":", quoted(Value)] || {Key, Value} <- Fields]), "}\n"].

quoted(Text) ->
    [$", [escaped(Char) || Char <- unicode:characters_to_list(Text)], $"].

escaped(Char) when Char < $\s; Char =:= $"; Char =:= $\\ -> io_lib:format("\\u~4.16.0b", [Char]);
escaped(Char) -> unicode:characters_to_binary([Char]).

%% The name that /etc/passwd has for whom this process belongs to.
user() ->
    {ok, #file_info{uid = Uid}} = file:read_file_info("/proc/self"),
    {ok, Passwd} = file:read_file("/etc/passwd"),
    Id = integer_to_binary(Uid),
    Lines = [binary:split(Line, <<":">>, [global]) || Line <- binary:split(Passwd, <<"\n">>, [global])],
    case [Name || [Name, _, Found | _] <- Lines, Found =:= Id] of
        [Name | _] -> Name;
        [] -> Id
    end.
