//! What saves a dump once the crash kernel runs, and where: Debian's kdump-tools,
//! or the kdump of Fedora and its kin.

use super::isolators::unquoted;
use super::Root;

const DEBIAN: &str = "etc/default/kdump-tools";
const FEDORA: &str = "etc/kdump.conf";

/// Where both save to unless told otherwise (kdump-tools(5), kdump.conf(5)).
const DIRECTORY: &str = "/var/crash";

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kdump {
    /// Which, by its file.
    pub file: &'static str,
    /// The directory that it saves to.
    pub directory: String,
    /// It saves to somewhere else than this host's root file system: what the
    /// file says of that.
    pub elsewhere: Option<String>,
    /// The program that it runs before it saves (Fedora's `kdump_pre`).
    pub pre: Option<String>,
}

impl Kdump {
    /// It is Debian's, which builds the crash kernel's initramfs with
    /// initramfs-tools.
    pub fn is_debian(&self) -> bool {
        self.file == DEBIAN
    }
}

/// The one that is installed, by its configuration.
pub fn kdump(root: &Root) -> Option<Kdump> {
    let debian = root.read(DEBIAN).ok().map(|text| kdump_tools(&text));
    debian.or_else(|| root.read(FEDORA).ok().map(|text| kdump_conf(&text)))
}

/// A file of shell variables.
pub(super) fn kdump_tools(text: &str) -> Kdump {
    let value = |key: &str| {
        let mut set = text.lines().filter_map(|line| {
            let value = line.trim().strip_prefix(key)?.strip_prefix('=')?;
            Some(unquoted(value))
        });
        set.next_back().filter(|value| !value.is_empty())
    };
    let elsewhere = ["NFS", "FTP", "SSH"];
    let elsewhere = elsewhere.iter().find_map(|key| Some(format!("{key}={}", value(key)?)));
    Kdump {
        file: DEBIAN,
        directory: value("KDUMP_COREDIR").unwrap_or_else(|| DIRECTORY.to_owned()),
        elsewhere,
        pre: None,
    }
}

/// Lines of a word and what it is set to, up to a `#`.
pub(super) fn kdump_conf(text: &str) -> Kdump {
    let lines = || {
        let lines = text.lines().filter_map(|line| line.split('#').next());
        lines.filter_map(|line| line.trim().split_once(char::is_whitespace))
    };
    let value = |key: &str| {
        let value = lines().find(|(word, _)| *word == key)?.1.trim();
        Some(value.to_owned())
    };
    // Dump targets: with one the directory is below it.
    let targets =
        ["nfs", "nfs4", "ssh", "raw", "ext2", "ext3", "ext4", "xfs", "btrfs", "minix", "virtiofs"];
    let elsewhere = targets.iter().find_map(|key| Some(format!("{key} {}", value(key)?)));
    Kdump {
        file: FEDORA,
        directory: value("path").unwrap_or_else(|| DIRECTORY.to_owned()),
        elsewhere,
        pre: value("kdump_pre"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;
    use proptest::prelude::*;

    #[test]
    fn debians_saves_where_its_file_says() {
        let tree = Tree::new();
        assert_eq!(kdump(&tree.root), None);
        tree.write(DEBIAN, "#KDUMP_COREDIR=\"/a\"\nKDUMP_COREDIR=\"/b\"\n#NFS=\"<nfs mount>\"\n");
        let found = kdump(&tree.root).unwrap();
        assert!(found.is_debian());
        assert_eq!((found.directory.as_str(), found.elsewhere), ("/b", None));
        assert_eq!(kdump_tools("").directory, "/var/crash");
        let far = kdump_tools("SSH=\"root@keeper\"\nNFS=\"\"\n");
        assert_eq!(far.elsewhere.as_deref(), Some("SSH=root@keeper"));
    }

    #[test]
    fn fedoras_saves_where_its_file_says() {
        let tree = Tree::new();
        let text = "# path /a\npath /b # c\ncore_collector makedumpfile -l\nkdump_pre /x/y\n";
        tree.write(FEDORA, text);
        let found = kdump(&tree.root).unwrap();
        assert!(!found.is_debian());
        assert_eq!((found.directory.as_str(), &found.elsewhere), ("/b", &None));
        assert_eq!(found.pre.as_deref(), Some("/x/y"));
        let far = kdump_conf("nfs keeper:/export\n");
        assert_eq!(far.elsewhere.as_deref(), Some("nfs keeper:/export"));
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in any::<String>()) {
            kdump_tools(&text);
            kdump_conf(&text);
        }
    }
}
