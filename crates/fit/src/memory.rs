//! How much memory the process holds, as the system counts it.

/// Memory of this process, MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub now: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

/// The memory of this process; `None` on systems without `/proc`.
pub fn resident() -> Option<Memory> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads `VmRSS` and `VmHWM`, which are in KiB.
fn parse(status: &str) -> Option<Memory> {
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024)
    };
    Some(Memory {
        now: mib("VmRSS:")?,
        peak: mib("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_proc_status_are_read() {
        let status = "Name:\tx\nVmPeak:\t 99 kB\nVmHWM:\t  307200 kB\nVmRSS:\t  204800 kB\n";
        let memory = Memory {
            now: 200,
            peak: 300,
        };
        assert_eq!(parse(status), Some(memory));
        assert_eq!(parse("VmRSS:\t 1 pages\n"), None);
        #[cfg(target_os = "linux")]
        assert!(resident().unwrap().peak > 0);
    }
}
