//! Compiles the kernel side, and nothing else.
//!
//! Needs clang and the headers of libbpf and of the kernel's user-space API; knows nothing of the kernel of the host
//! that it runs on.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "ebpf/ras.bpf.c";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=ebpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let object = Path::new(&env::var("OUT_DIR")?).join("ras.bpf.o");
    // Debian keeps asm/ in the directory of the architecture, where clang does not look when its target is bpf.
    let asm = format!("/usr/include/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
    let status = Command::new(&clang)
        // Where it was built is nobody's business, and would make each build another.
        .arg("-ffile-compilation-dir=.")
        // v3 brings the atomic exchange; kernels have it since 5.12.
        .args(["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(["-idirafter", &asm, "-c", SOURCE, "-o"])
        .arg(&object)
        .status()
        .map_err(|e| format!("cannot run {clang}: {e}; install clang, or name it in $CLANG"))?;
    if !status.success() {
        return Err(format!(
            "{clang} cannot compile {SOURCE}; it needs libbpf's and the kernel's headers \
             (Debian: libbpf-dev, linux-libc-dev)"
        )
        .into());
    }
    Ok(())
}
