//! `--base`: the system's own program files, as few as let ordinary programs start.
//!
//! Safety idea: nothing here belongs to a user; `/etc` is named file by file, because some of its files are secrets.

/// Read and execute.
pub(crate) const PROGRAMS: &str = "/usr";

/// On a system where these are not links into `/usr` they hold programs themselves.
pub(crate) const OLD_PROGRAMS: &[&str] = &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Read, where they are.
pub(crate) const SETTINGS: &[&str] = &[
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/localtime",
    "/etc/services",
    "/etc/protocols",
    "/etc/mime.types",
    "/etc/gitconfig",
    "/etc/ssl/openssl.cnf",
];

/// Read with all below, where they are.
pub(crate) const SETTING_FOLDERS: &[&str] = &["/etc/alternatives", "/etc/ssl/certs"];

/// `/etc/python3.N`, which Python's distributions read at start.
pub(crate) const PYTHONS: std::ops::RangeInclusive<u32> = 8..=17;

/// Read and write, without `ioctl`.
pub(crate) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
