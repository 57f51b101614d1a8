//! What starts a Ruby app: Rails' own server, the server of a Rack app, or a script.

use super::{super::Facts, super::Source, Gems};

/// The servers for Rack apps, the likelier first, and what starts each for every address.
pub(super) const SERVERS: &[(&str, &[&str])] = &[
    ("puma", &["puma", "--bind", "tcp://0.0.0.0:9292"]),
    ("falcon", &["falcon", "serve", "--bind", "http://0.0.0.0:9292"]),
    ("unicorn", &["unicorn", "--listen", "0.0.0.0:9292"]),
    ("iodine", &["iodine", "-b", "0.0.0.0", "-p", "9292"]),
    ("thin", &["thin", "start", "--address", "0.0.0.0", "--port", "9292"]),
    ("rackup", &["rackup", "--host=0.0.0.0", "--port=9292"]),
];

/// Sets the command of `facts` for a Rails or Rack app. Other apps are scripts, which the recipe's `entry` names.
pub(super) fn choose(source: &Source<'_>, gems: &Gems, facts: &mut Facts) {
    let has = |path: &str| source.files.get(path).is_some();
    let is_rails = has("bin/rails") || (has("config/environment.rb") && has("config/application.rb"));
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    if is_rails {
        let mut set = |name: &str, value: &str| facts.env.insert(name.to_owned(), value.to_owned());
        // The app's own folders tmp and log are read-only.
        set("BOOTSNAP_CACHE_DIR", "/tmp/bootsnap");
        set("PIDFILE", "/tmp/server.pid");
        set("RAILS_SERVE_STATIC_FILES", "true");
        // `rails server` would make folders below tmp; the server itself does not.
        let is_known = has("config/puma.rb") || SERVERS.iter().any(|(name, _)| *name != "rackup" && gems.has(name));
        facts.command = if is_known && has("config.ru") {
            server(source, gems).and_then(words)
        } else {
            words(&["ruby", "bin/rails", "server", "--binding=0.0.0.0", "--pid=/tmp/server.pid"])
        };
        return;
    }
    if !has("config.ru") {
        return;
    }
    facts.command = server(source, gems).and_then(words);
    if gems.is_all && !SERVERS.iter().any(|(name, _)| gems.has(name)) && !gems.has("rack") {
        facts.warnings.push(
            "Gemfile.lock has no server for config.ru: `gem \"puma\"` in Gemfile is what most apps use".to_owned(),
        );
    }
}

/// The words that start the server of a Rack app.
fn server(source: &Source<'_>, gems: &Gems) -> Option<&'static [&'static str]> {
    // Its own file says where it listens.
    if source.files.get("config/puma.rb").is_some() {
        return Some(&["puma"]);
    }
    if source.files.get("config/unicorn.rb").is_some() && gems.has("unicorn") {
        return Some(&["unicorn", "--config-file", "config/unicorn.rb"]);
    }
    let known = SERVERS.iter().find(|(name, _)| gems.has(name));
    known.or(SERVERS.last()).map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::super::Ruby;
    use crate::lang::testing::Draft;

    const PUMA: &str = "GEM\n  specs:\n    puma (6.4.2)\n      nio4r (~> 2.0)\n    sinatra (4.0.0)\n";

    #[test]
    fn what_starts_a_ruby_app() {
        for (files, expected) in [
            (&[("Gemfile", ""), ("bin/rails", ""), ("config/puma.rb", ""), ("config.ru", "")][..], Some("puma")),
            (
                &[
                    ("Gemfile.lock", PUMA),
                    ("config/environment.rb", ""),
                    ("config/application.rb", ""),
                    ("config.ru", ""),
                ],
                Some("puma --bind tcp://0.0.0.0:9292"),
            ),
            (
                &[("Gemfile", ""), ("bin/rails", ""), ("config.ru", "")],
                Some("ruby bin/rails server --binding=0.0.0.0 --pid=/tmp/server.pid"),
            ),
            (&[("Gemfile.lock", PUMA), ("config.ru", "")], Some("puma --bind tcp://0.0.0.0:9292")),
            (&[("Gemfile.lock", PUMA), ("config.ru", ""), ("config/puma.rb", "")], Some("puma")),
            (
                &[("Gemfile", "gem 'falcon', '~> 0.47'\n"), ("config.ru", "")],
                Some("falcon serve --bind http://0.0.0.0:9292"),
            ),
            (&[("Gemfile", "  gem \"unicorn\"\n"), ("config.ru", "")], Some("unicorn --listen 0.0.0.0:9292")),
            (
                &[("Gemfile.lock", "GEM\n  specs:\n    rackup (2.1.0)\n"), ("config.ru", "")],
                Some("rackup --host=0.0.0.0 --port=9292"),
            ),
            (&[("config.ru", "")], Some("rackup --host=0.0.0.0 --port=9292")),
            (&[("config.ru", ""), ("microbuild.toml", "package = [\"puma\"]")], Some("puma --bind tcp://0.0.0.0:9292")),
            (&[("Gemfile", "gem 'sinatra'"), ("app.rb", "")], None),
            (&[("worker.rb", "")], None),
        ] {
            let facts = Draft::new(files).read(&Ruby).unwrap();
            assert_eq!(facts.command.map(|words| words.join(" ")).as_deref(), expected, "{files:?}");
        }
    }

    #[test]
    fn a_rack_app_without_a_server_is_told() {
        let told = |lock: &str| Draft::new(&[("Gemfile.lock", lock), ("config.ru", "")]).read(&Ruby).unwrap().warnings;
        assert_eq!(told("GEM\n  specs:\n    sinatra (4.0.0)\n      rack (>= 3)\n").len(), 1);
        assert_eq!(told(PUMA), [""; 0]);
    }
}
