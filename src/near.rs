//! "Did you mean …?": the word of a list that is nearest to a mistyped one.

/// Of `candidates`, the nearest to `word`, unless even that one is too far from it to be what was meant. Among equals
/// the shortest, then the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let allowed = length.max(candidate.chars().count()).div_ceil(3);
            // A prefix was cut short on purpose more often than it was mistyped.
            let far =
                if !word.is_empty() && candidate.starts_with(word) { 0 } else { strsim::levenshtein(word, candidate) };
            (far <= allowed).then_some(((far, candidate.len()), candidate))
        })
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let words = ["oci", "oci-archive", "docker-archive", "docker"];
        for (word, expected) in [
            ("oci-archiv", Some("oci-archive")),
            ("oic", None),
            ("ocj", Some("oci")),
            ("doker", Some("docker")),
            ("dockerarchive", Some("docker-archive")),
            ("dock", Some("docker")),
            ("tar", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
