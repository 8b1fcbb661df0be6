//! Any bytes given to the process service, as what they may be: a request, a spawn and its batch, records that come back. None of them is ever a
//! panic, and what is read is what was written.

#![no_main]

use beget_monitor::fields::{Reader, Writer};
use beget_plan::message::Batch;
use beget_service::protocol::{Record, Spawn, State};
use beget_service::request::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, body)) = bytes.split_first_chunk::<2>() else { return };
    let kind = u16::from(head[0] % 20);
    let _ = Request::read(kind, body, usize::from(head[1] % 3));
    if let Some(spawn) = Spawn::decode(body) {
        assert_eq!(spawn.encode(), body);
        let items = spawn.domains.len() + usize::from(spawn.planned) + usize::from(spawn.spawner);
        if let Some(batch) = Batch::check(&spawn.batch, items as u32, usize::from(head[1])) {
            assert!((0..items).all(|index| batch.birth(index).is_some()));
        }
    }
    let mut reader = Reader::new(body);
    if let Some(record) = Record::read(&mut reader) {
        let mut writer = Writer::new();
        record.write(&mut writer);
        assert_eq!(Record::read(&mut Reader::new(writer.body())), Some(record));
    }
    if let Some(state) = State::decode(body) {
        assert_eq!(state.encode(), body);
    }
});
