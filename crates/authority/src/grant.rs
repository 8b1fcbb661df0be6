//! Grants: giving a child one capability. What is not granted is not there.

use std::fmt;
use std::path::PathBuf;

/// One capability to give.
///
/// Printed as the command line writes it, so that an error names the words that were typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// Read the file, or the directory and all below it.
    Read(PathBuf),
    /// Read, write, create, remove, rename and truncate there. No devices are made, and no `ioctl` reaches one.
    Write(PathBuf),
    /// Read and execute the file, or all below the directory.
    Execute(PathBuf),
    /// A grant of a file at another place in a private root ([`Root`](crate::Root)), which is absolute.
    At(Box<Grant>, PathBuf),
    /// Connect to the Unix socket at this path: in a private root, where of others only those exist that lie in granted folders.
    Unix(PathBuf),
    /// Sockets of the loopback interface of a private root, which reach nothing outside.
    Loopback,
    /// The system's own program files: `/usr` to read and execute, the files of `/etc` that every program reads, and
    /// `/dev/null`, `zero`, `full`, `random` and `urandom`.
    Base,
    /// The controlling terminal by its name, `/dev/tty`.
    Terminal,
    /// Connect to this TCP port, on any host.
    TcpConnect(u16),
    /// Bind this TCP port and listen on it.
    TcpBind(u16),
    /// Ask name servers: UDP sockets, to any place, for no kernel narrows them, and TCP port 53.
    InetDns,
    /// The network: TCP, UDP, ICMP and routing tables, of IPv4 and IPv6.
    Net,
    /// Create processes.
    Spawn,
    /// All that the caller's user may do: no Landlock, no filter, no keyring of its own, groups and capabilities as they are.
    /// Descriptors and variables are still only those given.
    Ambient,
}

impl Grant {
    /// The grant without the place that it is given at.
    #[must_use]
    pub fn plain(&self) -> &Grant {
        match self {
            Grant::At(grant, _) => grant.plain(),
            other => other,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Read(path) => write!(f, "--read {}", path.display()),
            Grant::Write(path) => write!(f, "--write {}", path.display()),
            Grant::Execute(path) => write!(f, "--exec {}", path.display()),
            Grant::At(grant, at) => write!(f, "{grant}:{}", at.display()),
            Grant::Unix(path) => write!(f, "--unix {}", path.display()),
            Grant::Loopback => f.write_str("--loopback"),
            Grant::Base => f.write_str("--base"),
            Grant::Terminal => f.write_str("/dev/tty"),
            Grant::TcpConnect(port) => write!(f, "--tcp-connect {port}"),
            Grant::TcpBind(port) => write!(f, "--tcp-bind {port}"),
            Grant::InetDns => f.write_str("--inet-dns"),
            Grant::Net => f.write_str("--net"),
            Grant::Spawn => f.write_str("--spawn"),
            Grant::Ambient => f.write_str("ambient authority"),
        }
    }
}
