//! The smallest program: one segment, two instructions, no loader. It ends with 0.

use std::os::unix::fs::PermissionsExt;

use beget::Command;
use beget_tests::Scratch;

/// The bytes of its file.
pub fn image() -> Vec<u8> {
    const CODE: [u8; 9] = [0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05];
    const BASE: u64 = 0x40_0000;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let size = 64 + 56 + CODE.len() as u64;
    elf.extend([2u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    elf.extend(1u32.to_le_bytes());
    elf.extend([BASE + 64 + 56, 64, 0].iter().flat_map(|long: &u64| long.to_le_bytes()));
    elf.extend(0u32.to_le_bytes());
    elf.extend([64u16, 56, 1, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    elf.extend([1u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend([0, BASE, BASE, size, size, 0x1000].iter().flat_map(|long| long.to_le_bytes()));
    elf.extend(CODE);
    elf
}

/// Writes it as an executable file.
pub fn write(path: &str) {
    std::fs::write(path, image()).expect("the folder can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our own file");
}

/// The program, in a folder that goes away.
pub fn program() -> (Scratch, String) {
    let folder = Scratch::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("our own folder");
    let path = folder.at("nothing");
    write(&path);
    (folder, path)
}

/// A confined command for it.
pub fn command(path: &str) -> Command {
    Command::new(path)
}

/// Spawns a command that does nothing, well.
pub fn run(command: &mut Command) {
    let status = command.status().expect("it can be spawned").status;
    assert!(status.success(), "{status}");
}
