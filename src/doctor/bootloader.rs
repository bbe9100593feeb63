//! How a kernel parameter is set on this host.

use crate::host::Root;

/// Commands that add `parameter`, a line each, by the tools that are there; it
/// counts from the next boot on.
pub(super) fn add(root: &Root, name: &str, parameter: &str) -> String {
    let has = |file: &str| root.path(file).exists();
    if has("usr/sbin/update-grub") {
        // Debian and its kin read these after /etc/default/grub.
        return format!(
            "mkdir -p /etc/default/grub.d && echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX \
             {parameter}\"' > /etc/default/grub.d/{name}.cfg\nupdate-grub, and reboot"
        );
    }
    if has("usr/sbin/grubby") {
        return format!("grubby --update-kernel=ALL --args={parameter}, and reboot");
    }
    format!("add {parameter} to the kernel command line, and reboot")
}
