//! The times in an image.

use super::PlanError;
use crate::{
    lang::some,
    layer::app::Times,
    project::{Checkout, Project},
    recipe::Recipe,
    request::Request,
    values::{FIXED, Timestamps},
};

/// The times in an image, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageTimes {
    /// When the image was made.
    pub created: u64,
    /// The files of packages. No commit of the app changes them, so that registries and apps share their layers.
    pub packages: u64,
    /// The app's own files, and what is built from them.
    pub app: Times,
    /// Installed dependencies. A commit does not change them either: they would be installed again for each.
    pub dependencies: Times,
}

impl ImageTimes {
    /// Whether the times that `request` and `recipe` want depend on the commit.
    pub fn need_commit(request: &Request, recipe: &Recipe) -> bool {
        request.timestamps.or(recipe.app.timestamps) == Some(Timestamps::Commit)
    }

    /// Whether a changed file of the app gets another time by what `request` and `recipe` want.
    pub fn differ(request: &Request, recipe: &Recipe) -> bool {
        matches!(request.timestamps.or(recipe.app.timestamps), Some(Timestamps::Commit | Timestamps::Content))
    }

    /// The times that `request` asks for, else the `recipe`'s; and a warning where they cannot be had as asked for. Where the
    /// recipe alone asks for the commit's time and there is none, the times come from the files' contents.
    ///
    /// # Errors
    /// When `request` asks for the time of a commit that is unknown.
    pub(super) fn of(
        request: &Request,
        recipe: &Recipe,
        project: &Project,
    ) -> Result<(Self, Option<String>), PlanError> {
        let same = |seconds| {
            let times = Times::At(seconds);
            Self { created: seconds, packages: seconds, app: times, dependencies: times }
        };
        let content = Self { app: Times::Content, dependencies: Times::Content, ..same(FIXED) };
        match (request.timestamps.or(recipe.app.timestamps).unwrap_or_default(), &project.checkout) {
            (Timestamps::Fixed, _) => Ok((same(FIXED), None)),
            (Timestamps::At(seconds), _) => Ok((same(seconds), None)),
            (Timestamps::Content, _) => Ok((content, None)),
            (Timestamps::Commit, Checkout::Commit { time, changed }) if changed.is_empty() => {
                Ok((Self { created: *time, app: Times::At(*time), ..content }, None))
            }
            (Timestamps::Commit, Checkout::Commit { changed, .. }) => {
                let warning = format!(
                    "the files have no time of a commit, but times that are derived from their contents, because some differ \
                     from the commit: {}",
                    some(changed)
                );
                Ok((content, request.timestamps.map(|_| warning)))
            }
            (Timestamps::Commit, _) if request.timestamps.is_none() => Ok((content, None)),
            (Timestamps::Commit, Checkout::Unreadable(why)) => Err(PlanError::NoCommit(why.clone())),
            (Timestamps::Commit, Checkout::None) => {
                Err(PlanError::NoCommit("the app is in no git repository that has one".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Explain as _, plan::tests::request, recipe::RecipeSearch};

    #[test]
    fn the_commit_is_the_time_of_what_it_has_and_of_nothing_else() {
        let node = RecipeSearch::default().find("node").expect("built in");
        let mut of_commit = node.clone();
        of_commit.app.timestamps = Some(Timestamps::Commit);
        let clean = Checkout::Commit { time: 7, changed: Vec::new() };
        let dirty = Checkout::Commit { time: 7, changed: vec!["a".into(), "b".into()] };
        let broken = Checkout::Unreadable("git is not installed".into());
        let (fixed, content, at) = (Times::At(FIXED), Times::Content, Times::At);
        for (asked, recipe, checkout, expected) in [
            (None, &node, &clean, Some((FIXED, FIXED, fixed, fixed, false))),
            (Some(Timestamps::At(9)), &of_commit, &clean, Some((9, 9, at(9), at(9), false))),
            (Some(Timestamps::Fixed), &of_commit, &clean, Some((FIXED, FIXED, fixed, fixed, false))),
            (Some(Timestamps::Content), &node, &clean, Some((FIXED, FIXED, content, content, false))),
            (Some(Timestamps::Commit), &node, &clean, Some((7, FIXED, at(7), content, false))),
            (None, &of_commit, &clean, Some((7, FIXED, at(7), content, false))),
            (Some(Timestamps::Commit), &node, &dirty, Some((FIXED, FIXED, content, content, true))),
            (None, &of_commit, &dirty, Some((FIXED, FIXED, content, content, false))),
            (None, &of_commit, &broken, Some((FIXED, FIXED, content, content, false))),
            (None, &of_commit, &Checkout::None, Some((FIXED, FIXED, content, content, false))),
            (Some(Timestamps::Commit), &node, &broken, None),
            (Some(Timestamps::Commit), &node, &Checkout::None, None),
        ] {
            let request = Request { timestamps: asked, ..request() };
            let project = Project { checkout: checkout.clone(), ..Project::default() };
            let times = ImageTimes::of(&request, recipe, &project);
            if let Err(error) = &times {
                assert!(error.hint().is_some_and(|hint| hint.contains("--timestamps content")), "{error}");
            }
            let times = times.ok().map(|(times, warning)| {
                (times.created, times.packages, times.app, times.dependencies, warning.is_some())
            });
            assert_eq!(times, expected, "{asked:?} {checkout:?}");
        }
    }
}
