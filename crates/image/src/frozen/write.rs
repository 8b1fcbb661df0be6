//! A header as bytes.

use super::{Digest, Frozen, MAGIC, PAGE, PREAMBLE, Preamble, SEAL, Source, VERSION};

struct Bytes(Vec<u8>);

impl Bytes {
    fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn word(&mut self, word: u64) {
        self.0.extend(word.to_le_bytes());
    }

    fn words(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.word(*word));
    }

    fn count(&mut self, of: usize) {
        self.number(u32::try_from(of).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.extend(text);
    }

    fn digest(&mut self, digest: &Digest) {
        self.0.extend(digest);
    }
}

impl Preamble {
    /// Where everything is in a file with a header and contents of so many bytes.
    #[must_use]
    pub fn of(header: u64, length: u64) -> Preamble {
        Preamble { header, contents: (header + SEAL).next_multiple_of(PAGE), length }
    }

    /// How long the whole file is, in bytes.
    #[must_use]
    pub fn file(&self) -> u64 {
        self.contents.saturating_add(self.length)
    }
}

impl Frozen {
    /// As a file begins: what [`Frozen::read`] accepts, when it is within its bounds.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Bytes(vec![0; PREAMBLE]);
        self.write_system(&mut bytes);
        self.write_program(&mut bytes);
        self.write_thread(&mut bytes);
        self.write_memory(&mut bytes);
        bytes.text(&self.note);
        self.chunks.iter().for_each(|chunk| bytes.digest(chunk));
        let Preamble { header, contents, length } = Preamble::of(bytes.0.len() as u64, self.length());
        let mut preamble = Bytes(MAGIC.to_vec());
        preamble.number(VERSION);
        preamble.number(PAGE as u32);
        preamble.words(&[header, contents, length, 0]);
        if let Some(place) = bytes.0.get_mut(..PREAMBLE) {
            place.copy_from_slice(&preamble.0);
        }
        bytes.0
    }

    fn write_system(&self, bytes: &mut Bytes) {
        bytes.text(&self.system.machine);
        bytes.text(&self.system.release);
        bytes.text(&self.system.processor);
        bytes.word(self.system.extended);
        bytes.digest(&self.system.calls);
        bytes.count(self.system.kernel.len());
        for special in &self.system.kernel {
            bytes.text(&special.name);
            bytes.words(&[special.range.start, special.range.end]);
        }
    }

    fn write_program(&self, bytes: &mut Bytes) {
        let program = &self.program;
        bytes.number(program.executable);
        bytes.number(program.umask);
        bytes.text(&program.name);
        bytes.text(&program.directory);
        bytes.text(&program.ready);
        bytes.words(&program.memory);
        bytes.text(&program.auxiliary);
    }

    fn write_thread(&self, bytes: &mut Bytes) {
        let thread = &self.thread;
        bytes.words(&thread.registers);
        bytes.text(&thread.extended);
        bytes.word(thread.mask);
        bytes.words(&thread.stack);
        bytes.word(thread.number_at);
        bytes.words(&thread.numbers);
        bytes.words(&thread.locks);
        bytes.words(&thread.sequences);
        bytes.count(self.signals.len());
        for one in &self.signals {
            bytes.number(one.signal);
            bytes.words(&one.action);
        }
    }

    fn write_memory(&self, bytes: &mut Bytes) {
        bytes.count(self.files.len());
        for file in &self.files {
            bytes.text(&file.path);
            bytes.word(file.size);
            bytes.digest(&file.digest);
        }
        bytes.count(self.descriptors.len());
        for one in &self.descriptors {
            bytes.number(one.number);
            bytes.number(one.file);
            bytes.word(one.offset);
            bytes.number(one.flags);
            bytes.number(one.closing.into());
        }
        bytes.count(self.mappings.len());
        for mapping in &self.mappings {
            bytes.words(&[mapping.range.start, mapping.range.end]);
            bytes.number(mapping.rights);
            bytes.number(mapping.advice);
            let (kind, file, offset) = match mapping.source {
                Source::Anonymous => (0, 0, 0),
                Source::Stack => (1, 0, 0),
                Source::Image => (2, 0, 0),
                Source::File { file, offset, shared: false } => (3, file, offset),
                Source::File { file, offset, shared: true } => (4, file, offset),
            };
            bytes.number(kind);
            bytes.number(file);
            bytes.word(offset);
        }
        bytes.count(self.runs.len());
        for run in &self.runs {
            bytes.words(&[run.range.start, run.range.end]);
            bytes.number(run.mapping);
        }
    }
}
