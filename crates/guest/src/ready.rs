//! Stands in for systemd at the start of a service.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

const SOCKET: &str = "/run/bulkhead-guest.notify";

/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Starts `command`, prints the seconds until it says that it is ready (sd_notify(3)), and ends as it does.
pub fn run(command: &[&str]) -> Result<ExitCode> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    let _ = std::fs::remove_file(SOCKET);
    let socket = UnixDatagram::bind(SOCKET).context(SOCKET)?;
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .env("NOTIFY_SOCKET", SOCKET)
        .spawn()
        .with_context(|| (*program).to_owned())?;
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(LOOK)).context(SOCKET)?;
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) if is_ready(&buffer[..length]) => break,
            Ok(_) => (),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Some(status) = child.try_wait().context("wait")? {
                    bail!("it ended before it was ready: {status}");
                }
            }
            Err(error) => return Err(error).context(SOCKET),
        }
    }
    println!("ready {:.6}", start.elapsed().as_secs_f64());
    let status = child.wait().context("wait")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

fn is_ready(message: &[u8]) -> bool {
    String::from_utf8_lossy(message).lines().any(|line| line == "READY=1")
}
