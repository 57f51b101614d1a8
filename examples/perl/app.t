use Mojo::Base -strict;

use Mojo::File 'curfile';
use Test::Mojo;
use Test::More;

local $ENV{NAME} = 'Ada';
my $t = Test::Mojo->new(curfile->sibling('app.pl'));
$t->get_ok('/')->status_is(200)->json_is('/message' => 'Hello, Ada!');
$t->get_ok('/nowhere')->status_is(404);
done_testing;
