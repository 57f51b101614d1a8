//! What the user's own configuration says, where flags and environment say nothing.

use super::{
    CliError,
    args::{CommonOptions, DeliveryOptions, NetworkOptions, Progress, SourceOptions},
};
use crate::{config::UserConfig, ui};

/// The groups of options that a command has; one that it lacks is filled for nothing.
pub(super) struct Groups<'a> {
    pub(super) common: &'a mut CommonOptions,
    pub(super) network: &'a mut NetworkOptions,
    pub(super) source: &'a mut SourceOptions,
    pub(super) delivery: &'a mut DeliveryOptions,
}

/// Fills in what `user` says. Every key of that file is named here, so that a new one without a use does not compile.
///
/// # Errors
/// When an output cannot be read.
pub(super) fn fill(user: &UserConfig, groups: Groups<'_>) -> Result<(), CliError> {
    let UserConfig {
        trust,
        tag,
        push,
        output,
        metadata_file,
        json,
        progress,
        mirror,
        keys,
        repository,
        secret,
        runtime,
        offline,
        cache_dir,
        shared_cache,
        allow_rollback,
        insecure,
        ca,
    } = user;
    let Groups { common, network, source, delivery } = groups;

    or(&mut common.cache_dir, cache_dir);
    common.json |= json.unwrap_or(false);
    or(&mut common.progress, &progress.map(Progress::from));

    list_or(&mut network.ca, ca);
    list_or(&mut network.insecure, insecure);

    source.trusted.clone_from(trust);
    or(&mut source.mirror, mirror);
    list_or(&mut source.keys, keys);
    list_or(&mut source.repository, repository);
    list_or(&mut source.secret, secret);
    or(&mut source.runtime, runtime);
    source.offline |= offline.unwrap_or(false);
    source.allow_rollback |= allow_rollback.unwrap_or(false);
    source.shared_cache |= shared_cache.unwrap_or(false);

    list_or(&mut delivery.tag, tag);
    delivery.push |= push.unwrap_or(false);
    let outputs = output.iter().map(|output| output.parse()).collect::<Result<Vec<_>, _>>()?;
    list_or(&mut delivery.output, &outputs);
    or(&mut delivery.metadata_file, metadata_file);
    Ok(())
}

fn or<T: Clone>(given: &mut Option<T>, user: &Option<T>) {
    if given.is_none() {
        given.clone_from(user);
    }
}

fn list_or<T: Clone>(given: &mut Vec<T>, user: &[T]) {
    if given.is_empty() {
        given.extend_from_slice(user);
    }
}

impl From<ui::Mode> for Progress {
    fn from(mode: ui::Mode) -> Self {
        match mode {
            ui::Mode::Auto => Self::Auto,
            ui::Mode::Plain => Self::Plain,
            ui::Mode::None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AppConfig;

    /// Each option of a build stands in one of the two files: what describes the image in the app's, what speaks for the machine in
    /// the user's.
    #[test]
    fn every_option_is_a_key_of_one_file() {
        use clap::CommandFactory as _;
        // How much is said and how an image is pushed are matters of one call; whom to trust stands in `trust` as folders.
        const FLAGS_ONLY: [&str; 7] = ["help", "quiet", "verbose", "trust", "force", "format", "verify"];
        let (app, user) = (AppConfig::keys(), UserConfig::keys());
        let command = super::super::args::RecipeCli::command();
        let options: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        for option in &options {
            let keys = [&app, &user].into_iter().filter(|keys| keys.iter().any(|key| key == option)).count();
            let expected = if *option == "tag" { 2 } else { usize::from(!FLAGS_ONLY.contains(option)) };
            assert!(keys == expected || *option == "trust", "{option} is a key of {keys} files");
        }
        for key in app.iter().chain(&user).filter(|key| *key != "recipe") {
            assert!(options.contains(&key.as_str()), "{key} is no option");
        }
    }

    #[test]
    fn flags_win_over_the_users_file() {
        let user = UserConfig::parse(
            "mirror = 'https://m/x'\nruntime = 'crun'\ntag = ['a:1']\noutput = 'docker'\npush = true\ntrust = '/srv'",
            "config.toml",
        )
        .expect("a configuration");
        let mut source = SourceOptions { runtime: Some("runc".into()), ..SourceOptions::default() };
        let mut delivery = DeliveryOptions { tag: vec!["b:2".into()], ..DeliveryOptions::default() };
        let (common, network) = (&mut CommonOptions::default(), &mut NetworkOptions::default());
        fill(&user, Groups { common, network, source: &mut source, delivery: &mut delivery }).expect("it fits");
        assert_eq!((source.runtime.as_deref(), source.mirror.as_deref()), (Some("runc"), Some("https://m/x")));
        assert_eq!((&delivery.tag[..], delivery.push, delivery.output.len()), (&["b:2".to_owned()][..], true, 1));
        assert_eq!(source.trusted, [std::path::PathBuf::from("/srv")]);
    }
}
