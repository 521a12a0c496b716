//! Families of interpreters: how each tells its program among its arguments. (tidy: table)
//!
//! What matters is that a file that is run is not taken for data; where an option's value is taken for a program, nothing
//! happens but that the interpreter finds no file of that name. Sources: the manual pages, and the programs' readers of options.

use hardpan_abi::Grammar;

/// Interpreters that read their arguments alike.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The name of the key in policies.
    pub name: &'static str,
    /// Letters of options behind which no argument is a program: code comes with them.
    ends: &'static str,
    /// Letters behind which the rest of the argument is a value.
    stops: &'static str,
    /// Letters whose value may be the next argument.
    takes: &'static str,
    /// Words whose value is the next argument; their first 8 bytes count.
    words: &'static [&'static str],
    /// Options may begin with `+`, and a lone hyphen ends them.
    shell: bool,
}

const fn family(
    name: &'static str,
    [ends, stops, takes]: [&'static str; 3],
    words: &'static [&'static str],
) -> Family {
    Family {
        name,
        ends,
        stops,
        takes,
        words,
        shell: false,
    }
}

/// Names of the families, in the order of [`FAMILIES`].
pub const NAMES: &[&str] = &["shell", "python", "perl", "ruby", "php", "lua", "node", "tcl"];

/// All families. Their number in the kernel is one more than their place here.
///
/// The shell's `-c` is not among what ends: its code is an argument of its own, and no file has that name.
pub const FAMILIES: [Family; 8] = [
    Family {
        shell: true,
        ..family(
            "shell",
            ["", "", "oO"],
            &["--rcfile", "--init-file", "-rcfile", "-init-file"],
        )
    },
    family("python", ["cm", "cmWXQ", "WXQ"], &["--check-hash-based-pycs"]),
    family("perl", ["eE", "eEIMmFixdDVCA", "I"], &[]),
    family(
        "ruby",
        ["e", "eIrECXFKTxW", "IrECXF"],
        &[
            "--encoding",
            "--external-encoding",
            "--internal-encoding",
            "--backtrace-limit",
        ],
    ),
    family(
        "php",
        ["rBRE", "rBREcdztSfF", "cdztSfF"],
        &["--define", "--php-ini", "--zend-extension", "--file"],
    ),
    family("lua", ["", "el", "el"], &[]),
    family(
        "node",
        ["", "epCr", "epCr"],
        &["--require", "--import", "--loader", "--conditions"],
    ),
    family("tcl", ["", "", ""], &["-encoding"]),
];

impl Family {
    /// As the kernel side compares it.
    pub fn grammar(&self) -> Grammar {
        let mut grammar = Grammar {
            ends: letters(self.ends),
            stops: letters(self.stops),
            takes: letters(self.takes),
            shell: u64::from(self.shell),
            ..Grammar::default()
        };
        for (slot, word) in grammar.words.iter_mut().zip(self.words) {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(word.bytes()) {
                *to = from;
            }
            *slot = u64::from_le_bytes(bytes);
        }
        grammar
    }
}

fn letters(letters: &str) -> [u64; 2] {
    let mut mask = [0; 2];
    for letter in letters.bytes().filter(u8::is_ascii) {
        if let Some(word) = mask.get_mut(usize::from(letter >> 6)) {
            *word |= 1 << (letter & 63);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_abi::GRAMMARS_MAX;

    #[test]
    fn names_and_numbers_fit() {
        assert_eq!(FAMILIES.map(|family| family.name).as_slice(), NAMES);
        assert!(FAMILIES.len() < GRAMMARS_MAX as usize);
        assert!(FAMILIES.iter().all(|family| family.words.len() <= 4));
    }

    #[test]
    fn letters_and_words_stand_where_the_kernel_side_looks() {
        let python = FAMILIES[1].grammar();
        assert_eq!(python.ends, [0, 1 << (b'c' - 64) | 1 << (b'm' - 64)]);
        assert_eq!(python.words[0].to_le_bytes(), *b"--check-");
        assert_eq!(FAMILIES[0].grammar().words[2].to_le_bytes(), *b"-rcfile\0");
    }
}
