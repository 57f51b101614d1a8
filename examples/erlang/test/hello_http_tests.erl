-module(hello_http_tests).

-include_lib("eunit/include/eunit.hrl").

greets_test() ->
    Text = iolist_to_binary(hello_http:greeting("Ada", "me")),
    ?assertMatch({_, _}, binary:match(Text, <<"\"Hello, Ada!\"">>)).

escapes_test() ->
    Text = iolist_to_binary(hello_http:greeting("\"\n", "me")),
    ?assertMatch({_, _}, binary:match(Text, <<"Hello, \\u0022\\u000a!">>)).
