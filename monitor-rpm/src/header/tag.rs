//! Numbers and names of the tags that this crate reads or reports. Source: rpm's lib/rpmtag.h.
// tidy: table

use std::fmt;

macro_rules! tags {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: u32 = $number;)*

        /// rpm's name of a tag, as `rpm --querytags` prints it.
        pub const fn name(tag: u32) -> Option<&'static str> {
            match tag {
                $($number => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

tags! {
    HEADERIMAGE = 61, "Region of rpm 3 headers.";
    HEADERSIGNATURES = 62, "Region of a package's signature header.";
    HEADERIMMUTABLE = 63, "Region of a package header.";
    HEADERI18NTABLE = 100, "Locales of I18NSTRING entries.";
    SIGSIZE = 257, "Size of header and payload.";
    SIGPGP = 259, "OpenPGP signature (RSA) over header and payload.";
    SIGMD5 = 261, "MD5 over header and payload.";
    SIGGPG = 262, "OpenPGP signature (DSA) over header and payload.";
    PUBKEYS = 266, "Public keys in a gpg-pubkey header.";
    DSAHEADER = 267, "OpenPGP signature (DSA) over the header.";
    RSAHEADER = 268, "OpenPGP signature (RSA and others) over the header.";
    SHA1HEADER = 269, "SHA-1 of the header.";
    LONGSIGSIZE = 270, "Size of header and payload, 64 bits.";
    LONGARCHIVESIZE = 271, "Size of the unpacked payload, 64 bits.";
    SHA256HEADER = 273, "SHA-256 of the header.";
    SIG_FILESIGNATURES = 274, "IMA signatures in a signature header.";
    SIG_FILESIGNATURELENGTH = 275, "Length of IMA signatures in a signature header.";
    VERITYSIGNATURES = 276, "fs-verity signatures.";
    VERITYSIGNATUREALGO = 277, "fs-verity algorithm.";
    OPENPGP = 278, "OpenPGP signatures over the header, base64, any number.";
    SHA3_256HEADER = 279, "SHA3-256 of the header.";
    NAME = 1000, "Package name.";
    VERSION = 1001, "Package version.";
    RELEASE = 1002, "Package release.";
    EPOCH = 1003, "Package epoch.";
    SUMMARY = 1004, "One line about the package.";
    DESCRIPTION = 1005, "Text about the package.";
    BUILDTIME = 1006, "Seconds since 1970.";
    BUILDHOST = 1007, "Host that built the package.";
    INSTALLTIME = 1008, "Seconds since 1970.";
    SIZE = 1009, "Sum of the file sizes.";
    DISTRIBUTION = 1010, "Distribution.";
    VENDOR = 1011, "Vendor.";
    LICENSE = 1014, "Licence.";
    PACKAGER = 1015, "Packager.";
    OS = 1021, "Operating system.";
    ARCH = 1022, "Architecture.";
    OLDFILENAMES = 1027, "Full file names, of rpm 3 packages.";
    FILESIZES = 1028, "File sizes in bytes, 32 bits.";
    FILESTATES = 1029, "File states, written at installation.";
    FILEMODES = 1030, "File modes.";
    FILERDEVS = 1033, "Device numbers of device files.";
    FILEMTIMES = 1034, "File times, seconds since 1970.";
    FILEDIGESTS = 1035, "File digests in hexadecimal.";
    FILELINKTOS = 1036, "Targets of symbolic links.";
    FILEFLAGS = 1037, "File flags.";
    FILEUSERNAME = 1039, "Owners of files.";
    FILEGROUPNAME = 1040, "Groups of files.";
    SOURCERPM = 1044, "File name of the source package.";
    FILEVERIFYFLAGS = 1045, "What a verification compares.";
    ARCHIVESIZE = 1046, "Size of the unpacked payload.";
    RPMVERSION = 1064, "rpm that built the package.";
    FILEDEVICES = 1095, "Device numbers at build time.";
    FILEINODES = 1096, "Inode numbers at build time: equal ones are hard links.";
    FILELANGS = 1097, "Languages of files.";
    INSTPREFIXES = 1099, "Prefixes of a relocated package.";
    DIRINDEXES = 1116, "Index into DIRNAMES for each file.";
    BASENAMES = 1117, "File names without directory.";
    DIRNAMES = 1118, "Directories, each ending in a slash.";
    ORIGDIRINDEXES = 1119, "DIRINDEXES before relocation.";
    ORIGBASENAMES = 1120, "BASENAMES before relocation.";
    ORIGDIRNAMES = 1121, "DIRNAMES before relocation.";
    PAYLOADFORMAT = 1124, "Format of the payload.";
    PAYLOADCOMPRESSOR = 1125, "Compression of the payload.";
    INSTALLCOLOR = 1127, "Transaction colour at installation.";
    INSTALLTID = 1128, "Transaction of the installation.";
    FILECOLORS = 1140, "ELF class of each file: 1 is 32 bits, 2 is 64 bits.";
    FILECLASS = 1141, "Index into CLASSDICT for each file.";
    CLASSDICT = 1142, "Kinds of files as libmagic names them.";
    LONGFILESIZES = 5008, "File sizes in bytes, 64 bits.";
    LONGSIZE = 5009, "Sum of the file sizes, 64 bits.";
    FILECAPS = 5010, "Capabilities of files.";
    FILEDIGESTALGO = 5011, "Algorithm of FILEDIGESTS, an OpenPGP hash number.";
    BUGURL = 5012, "Where to report bugs.";
    VCS = 5034, "Version control of the source.";
    FILESIGNATURES = 5090, "IMA signatures of files.";
    FILESIGNATURELENGTH = 5091, "Length of IMA signatures.";
    PAYLOADSHA256 = 5092, "Digest of the compressed payload.";
    PAYLOADSHA256ALGO = 5093, "Algorithm of the payload digests.";
    AUTOINSTALLED = 5094, "Reserved.";
    MODULARITYLABEL = 5096, "Module stream.";
    PAYLOADSHA256ALT = 5097, "Digest of the uncompressed payload.";
    RPMFORMAT = 5114, "Format of the package: 4 or 6.";
    FILEMIMEINDEX = 5115, "Index into MIMEDICT for each file.";
    MIMEDICT = 5116, "MIME types of files.";
    PAYLOADSHA512 = 5121, "SHA-512 of the compressed payload.";
    PAYLOADSHA3_256 = 5123, "SHA3-256 of the compressed payload.";
}

/// Shows a tag as rpm names it, or as its number.
#[derive(Clone, Copy, Debug)]
pub struct TagName(
    /// The tag.
    pub u32,
);

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.0) {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "tag {}", self.0),
        }
    }
}
