//! What the user sees of long work: stderr only; bars on a terminal, plain lines elsewhere, nothing with `-q`.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead as _, BufReader, IsTerminal as _, Seek as _, Write as _},
    sync::Arc,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Plain lines.
    Plain,
    /// No progress; warnings are still shown.
    None,
}

/// Talks to the user on stderr. Cheap to clone; all clones share one screen.
#[derive(Clone)]
pub struct Ui {
    bars: Option<MultiProgress>,
    lines: bool,
    verbose: bool,
    sink: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Ui {
    /// Talks as `mode` says; `verbose` shows details too.
    pub fn new(mode: Mode, verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = (mode == Mode::Auto && terminal)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15)));
        let lines = mode != Mode::None;
        Self { bars, lines, verbose, sink: Arc::new(|line| eprintln!("{line}")) }
    }

    /// Says nothing at all: for tests, and for callers of the library that have a screen of their own.
    pub fn silent() -> Self {
        Self { bars: None, lines: false, verbose: false, sink: Arc::new(|_| {}) }
    }

    /// A line for whoever follows the build. `None` mode leaves it out.
    pub fn say(&self, line: &str) {
        if self.lines {
            self.print(line);
        }
    }

    /// A line for whoever asked for details with `-v`.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.print(line);
        }
    }

    /// What must not go unseen, and is no warning: shown in every mode.
    pub fn notice(&self, line: &str) {
        self.print(line);
    }

    /// A warning: shown in every mode.
    pub fn warn(&self, line: &str) {
        self.print(&format!("warning: {line}"));
    }

    fn print(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| (self.sink)(line)),
            None => (self.sink)(line),
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
        let bar = bars.add(bar.with_message(label.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Task(Some(bar))
    }

    /// A program that runs for the build and talks meanwhile. On a terminal its last lines are shown for as long as the value
    /// lives, with `-v` all of them; elsewhere a line says that it runs.
    pub fn step(&self, label: &str) -> Step {
        let bar = (!self.verbose).then_some(self.bars.as_ref()).flatten().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar.with_message(label.to_owned())
        });
        if bar.is_none() {
            self.say(label);
        }
        // Without a place for it, what is on the screen is all that there is.
        let log = if self.verbose { None } else { tempfile::tempfile().ok() };
        Step { ui: self.clone(), label: label.to_owned(), bar, last: VecDeque::new(), log }
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
pub struct Step {
    ui: Ui,
    label: String,
    bar: Option<ProgressBar>,
    last: VecDeque<String>,
    log: Option<File>,
}

impl Step {
    /// As many of its lines are shown on a terminal.
    const SHOWN: usize = 4;

    /// It said `line`.
    pub fn line(&mut self, line: &str) {
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

impl Drop for Step {
    fn drop(&mut self) {
        self.clear();
    }
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
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (43_900_000, "43.9 MB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
