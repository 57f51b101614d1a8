//! No input makes a parser panic: random bytes, and what it accepts with damage done to it. `fuzz/` goes deeper.

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

#[path = "../../fuzz/parsers.rs"]
mod table;

/// A seed with some of its bytes replaced, taken away or said twice.
fn damaged(seed: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let wounds = vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..6);
    wounds.prop_map(move |wounds| {
        let mut bytes = seed.as_bytes().to_vec();
        for (at, byte, how) in wounds {
            let at = at.index(bytes.len().max(1));
            match how {
                _ if at >= bytes.len() => bytes.push(byte),
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    })
}

#[test]
fn no_input_makes_a_parser_panic() {
    for (name, parser, seeds) in table::PARSERS {
        let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
        let mut run = |strategy: BoxedStrategy<Vec<u8>>| {
            let result = runner.run(&strategy, |bytes| {
                parser(&bytes);
                Ok(())
            });
            result.unwrap_or_else(|e| panic!("{name}: {e}"));
        };
        run(vec(any::<u8>(), 0..2000).boxed());
        run("[ -~\n]{0,80}".prop_map(String::into_bytes).boxed());
        for seed in *seeds {
            parser(seed.as_bytes());
            run(damaged(seed).boxed());
        }
    }
}
