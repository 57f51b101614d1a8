//! Numbers of users and groups that belong to the caller in addition to its own (subuid(5), subgid(5)): with them an
//! app runs as the very user that its image names, also under a runtime that wants root in every namespace.

use std::{fs, path::Path};

use super::{Ids, ids};
use crate::{host::Host, programs};

/// How long such ranges are made everywhere: the numbers that an image may name.
const ENOUGH: u32 = 65_536;

/// The caller's ranges: the first number of each, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subordinate {
    /// Numbers of users.
    pub users: (u32, u32),
    /// Numbers of groups.
    pub groups: (u32, u32),
}

impl Subordinate {
    /// The ranges of the user `uid`, when there are any and the programs that give them out are installed on `host`.
    pub fn of(uid: u32, host: &Host) -> Option<Self> {
        let path = host.path();
        let has = |name: &str| programs::find(name, &path).is_some();
        if !has("newuidmap") || !has("newgidmap") {
            return None;
        }
        let read = |path: &str| fs::read_to_string(Path::new(path)).ok();
        let name = read("/etc/passwd").and_then(|passwd| ids::name_of(&passwd, uid));
        let range = |file: &str| find(&read(file)?, uid, name.as_deref());
        Some(Self { users: range("/etc/subuid")?, groups: range("/etc/subgid")? })
    }

    /// Whether a sandbox may have `user`, root of the namespace being the caller.
    pub fn covers(&self, user: &Ids) -> bool {
        user.uid <= self.users.1 && user.gid <= self.groups.1
    }
}

/// The first range that is long enough, of the user `uid` called `name`.
fn find(text: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner.parse() != Ok(uid) {
            return None;
        }
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (range.1 >= ENOUGH).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_or_number() {
        let text = "ada:100000:65536\n# none\n1001:165536:65536\neve:1:10\neve:300000:100000\nbad:x:y\n";
        for (uid, name, expected) in [
            (1000, Some("ada"), Some((100_000, 65_536))),
            (1001, None, Some((165_536, 65_536))),
            (1002, Some("eve"), Some((300_000, 100_000))),
            (1003, Some("bad"), None),
            (1004, Some("bob"), None),
        ] {
            assert_eq!(find(text, uid, name), expected, "{uid}");
        }
        let ranges = Subordinate { users: (100_000, 65_536), groups: (100_000, 65_536) };
        let user = |uid, gid| Ids { uid, gid, ..Ids::default() };
        assert!(ranges.covers(&user(65_532, 65_532)) && !ranges.covers(&user(65_532, 100_000)));
    }
}
