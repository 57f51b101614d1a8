//! Output of a command as lines.

use std::io::{self, Read};

/// A line longer than this many bytes is handed over in pieces.
const MAX_LINE: usize = 8 << 10;

/// Hands over what `from` gives until its end, line by line; see [`Output::Lines`](super::Output::Lines).
///
/// # Errors
/// When it cannot be read.
pub(super) fn each_line(mut from: impl Read, line: &mut dyn FnMut(&str)) -> io::Result<()> {
    let mut lines = Lines { line, held: Vec::new(), overwritten: false };
    let mut buffer = vec![0; 1 << 14];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => buffer[..n].iter().for_each(|&byte| lines.take(byte)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    if !lines.held.is_empty() {
        lines.end();
    }
    Ok(())
}

struct Lines<'a> {
    line: &'a mut dyn FnMut(&str),
    held: Vec<u8>,
    /// A carriage return has come: what comes next takes the line's place, unless it is the line's end.
    overwritten: bool,
}

impl Lines<'_> {
    fn take(&mut self, byte: u8) {
        match byte {
            b'\n' => self.end(),
            b'\r' => self.overwritten = true,
            byte => {
                if std::mem::take(&mut self.overwritten) {
                    self.held.clear();
                }
                if self.held.len() == MAX_LINE {
                    self.end_piece();
                }
                self.held.push(byte);
            }
        }
    }

    fn end(&mut self) {
        (self.line)(&String::from_utf8_lossy(&self.held));
        self.held.clear();
        self.overwritten = false;
    }

    /// Hands over a piece of a line, without cutting a character in two.
    fn end_piece(&mut self) {
        let whole = match str::from_utf8(&self.held) {
            Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => e.valid_up_to(),
            _ => self.held.len(),
        };
        let rest = self.held.split_off(whole);
        self.end();
        self.held = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        each_line(input, &mut |line: &str| found.push(line.to_owned())).expect("memory");
        found
    }

    #[test]
    fn lines_are_handed_over() {
        for (input, expected) in [
            (&b""[..], &[][..]),
            (b"a", &["a"]),
            (b"a\n\nb\r\nc\n", &["a", "", "b", "c"]),
            (b"10%\r50%\r100%\ndone", &["100%", "done"]),
            (b"10%\r50%\r", &["50%"]),
            (b"\xff\xfe ok\n", &["\u{fffd}\u{fffd} ok"]),
        ] {
            assert_eq!(lines(input), expected, "{input:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_handed_over_in_pieces() {
        let long = "ä".repeat(10_000);
        let mut input = vec![b'x'];
        input.extend(long.bytes());
        let found = lines(&input);
        assert!(found.len() == 3 && found.iter().all(|piece| piece.len() <= MAX_LINE), "{}", found.len());
        assert_eq!(found.concat(), format!("x{long}"));
    }
}
