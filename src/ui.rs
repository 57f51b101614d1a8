//! What the user sees of long work: stderr only; bars on a terminal, plain lines elsewhere, nothing with `-q`.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fs::File,
    io::{BufRead as _, BufReader, IsTerminal as _, Seek as _, Write as _},
    sync::Arc,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How progress is shown: the values of `--progress`, whose help these comments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Bars on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// Plain lines
    Plain,
    /// No progress; warnings are still shown
    None,
}

/// Prints progress and warnings for the user. Cheap to clone; all clones share one screen.
#[derive(Clone)]
pub struct Ui {
    bars: Option<MultiProgress>,
    lines: bool,
    verbose: bool,
    sink: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Ui {
    /// Prints on stderr as `mode` says; `verbose` shows details too.
    pub fn new(mode: Mode, verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = (mode == Mode::Auto && terminal)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15)));
        let lines = mode != Mode::None;
        Self { bars, lines, verbose, sink: Arc::new(|line| eprintln!("{line}")) }
    }

    /// Prints nothing: for tests, and for callers of the library that show progress themselves.
    pub fn silent() -> Self {
        Self { bars: None, lines: false, verbose: false, sink: Arc::new(|_| {}) }
    }

    /// Calls `sink` for each line: for callers of the library.
    pub fn to(sink: impl Fn(&str) + Send + Sync + 'static, verbose: bool) -> Self {
        Self { bars: None, lines: true, verbose, sink: Arc::new(sink) }
    }

    /// Prints a line of progress. `None` mode leaves it out.
    pub fn say(&self, line: &str) {
        if self.lines {
            self.print(line);
        }
    }

    /// Prints several lines, such as a table. `None` mode leaves them out.
    pub fn say_all(&self, lines: &str) {
        lines.lines().for_each(|line| self.say(line));
    }

    /// Prints a line of detail, with `-v` only.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.print(line);
        }
    }

    /// Prints a line that the user must see, but that is no warning: shown in every mode.
    pub fn notice(&self, line: &str) {
        self.print(line);
    }

    /// Prints a warning: shown in every mode.
    pub fn warn(&self, line: &str) {
        self.print(&format!("warning: {line}"));
    }

    /// The one place where a line reaches the screen: nothing in it can do more than be read.
    fn print(&self, line: &str) {
        let line = plain(line);
        match &self.bars {
            Some(bars) => bars.suspend(|| (self.sink)(&line)),
            None => (self.sink)(&line),
        }
    }

    /// A piece of long work, `total` bytes of it when that is known. On a terminal it is a bar for as long as the value
    /// lives; elsewhere it is a line with `-v`, and nothing otherwise.
    pub fn task(&self, label: &str, total: Option<u64>) -> Task {
        let Some(bars) = &self.bars else {
            self.detail(label);
            return Task(None);
        };
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style("{msg:32!} {bar:24} {bytes:>10} / {total_bytes}")),
            None => ProgressBar::new_spinner().with_style(style("{msg:32!} {spinner} {bytes:>10}")),
        };
        let bar = bars.add(bar.with_message(plain(label).into_owned()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Task(Some(bar))
    }

    /// A program that runs for the build and talks meanwhile. On a terminal its last lines are shown for as long as the value
    /// lives, with `-v` all of them; elsewhere a line says that it runs.
    pub fn step(&self, label: &str) -> StepOutput {
        let bar = (!self.verbose).then_some(self.bars.as_ref()).flatten().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar.with_message(plain(label).into_owned())
        });
        if bar.is_none() {
            self.say(label);
        }
        // Without a place for it, what is on the screen is all that there is.
        let log = if self.verbose { None } else { tempfile::tempfile().ok() };
        StepOutput { ui: self.clone(), label: plain(label).into_owned(), bar, last: VecDeque::new(), log }
    }
}

fn style(template: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A piece of long work that is under way; see [`Ui::task`].
pub struct Task(Option<ProgressBar>);

impl Task {
    /// `bytes` more are done.
    pub fn inc(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// The work starts again from its beginning (a retry).
    pub fn reset(&self) {
        if let Some(bar) = &self.0 {
            bar.reset();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A program that talks while it runs; see [`Ui::step`].
pub struct StepOutput {
    ui: Ui,
    label: String,
    bar: Option<ProgressBar>,
    last: VecDeque<String>,
    log: Option<File>,
}

impl StepOutput {
    /// As many of its lines are shown on a terminal.
    const SHOWN: usize = 4;

    /// It said `line`. Its colours are dropped, and so is what it overwrote on the same line.
    pub fn line(&mut self, line: &str) {
        let line =
            plain(colourless(line.trim_end_matches('\r').rsplit('\r').next().unwrap_or(line)).as_ref()).into_owned();
        self.ui.detail(&format!("  {line}"));
        if let Some(log) = &mut self.log
            && writeln!(log, "{line}").is_err()
        {
            self.log = None;
        }
        if let Some(bar) = &self.bar {
            self.last.push_back(line.chars().take(96).collect());
            if self.last.len() > Self::SHOWN {
                self.last.pop_front();
            }
            let lines: String = self.last.iter().map(|line| format!("\n  {line}")).collect();
            bar.set_message(format!("{}{lines}", self.label));
        }
    }

    /// Shows all that it said, in every mode: it failed.
    pub fn show(&mut self) {
        self.clear();
        if let Some(mut log) = self.log.take()
            && log.rewind().is_ok()
        {
            let lines = BufReader::new(log).lines().map_while(Result::ok);
            lines.for_each(|line| self.ui.print(&format!("  {line}")));
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for StepOutput {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `text` as one line of harmless characters: control characters, and those that turn the direction of text, become escapes such
/// as `\u{1b}`. File names, messages of registries and the like are data, which must neither steer a terminal nor fake a line.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// The same of a text of several lines. A further line begins with a space, or a number as excerpts of files have it, so that it
/// cannot be taken for a message of its own.
pub fn plain_lines(text: &str) -> String {
    let mut lines = text.split('\n').map(plain);
    let mut plain = lines.next().unwrap_or_default().into_owned();
    for line in lines {
        plain +=
            if line.is_empty() || line.starts_with(|c: char| c == ' ' || c.is_ascii_digit()) { "\n" } else { "\n  " };
        plain += &line;
    }
    plain
}

/// The same of a whole document, whose lines may begin as they like.
pub fn plain_document(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t' || c == '\n')
}

fn escaped(text: &str, is_fine: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_harmful = |c: char| is_harmful(c) && !is_fine(c);
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' if is_harmful(c) => plain += "\\n",
            c if is_harmful(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// Control characters, and those of Unicode's bidirectional algorithm that turn or isolate text (UAX #9, "Directional Formatting
/// Characters"), with which a name can look like another one.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `line` without the sequences that only colour it (ECMA-48, "SGR").
fn colourless(line: &str) -> Cow<'_, str> {
    if !line.contains("\u{1b}[") {
        return Cow::Borrowed(line);
    }
    let mut parts = line.split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';');
        match end.filter(|end| part[*end..].starts_with('m')) {
            Some(end) => text += &part[end + 1..],
            None => {
                text += "\u{1b}[";
                text += part;
            }
        }
    }
    Cow::Owned(text)
}

/// `bytes` as a person reads it, decimal units as registries and disks have them: `43.9 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn nothing_that_is_shown_steers_the_terminal_or_fakes_a_line() {
        for (text, expected) in [
            ("naïve 🦀 name", "naïve 🦀 name"),
            ("a\tb", "a\tb"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nwarning: b", "a\\nwarning: b"),
            ("a\r\u{7}\u{9b}31m\u{7f}", "a\\u{d}\\u{7}\\u{9b}31m\\u{7f}"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
        ] {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(plain_lines("a\n b\nerror: c\u{1b}"), "a\n b\n  error: c\\u{1b}");
        assert_eq!(plain_document("{\n \"a\": \"\u{9b}\"}"), "{\n \"a\": \"\\u{9b}\"}");
    }

    #[test]
    fn a_programs_lines_lose_their_colours_only() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&said);
        let ui = Ui {
            bars: None,
            lines: true,
            verbose: true,
            sink: Arc::new(move |line: &str| sink.lock().expect("whole").push(line.to_owned())),
        };
        let mut step = ui.step("install\n");
        step.line("\u{1b}[1;31mred\u{1b}[0m and \u{1b}]0;title\u{7}");
        step.line("10%\r 50%\r100%\r");
        assert_eq!(
            *said.lock().expect("whole"),
            ["install\\n", "  red and \\u{1b}]0;title\\u{7}", "  100%"].map(str::to_owned)
        );
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (43_900_000, "43.9 MB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
