//! Roots of EL 8, 9 and 10 as their packages lay them out, small, with real content in every file that hardening reads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// What differs between the roots.
pub(crate) struct Kind {
    pub(crate) el: u32,
    pub(crate) vendor: &'static str,
    /// ID, NAME, VERSION_ID of os-release.
    os: (&'static str, &'static str, &'static str),
    kernel: &'static str,
}

/// Three vendors on three releases.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        el: 8,
        vendor: "rhel",
        os: ("rhel", "Red Hat Enterprise Linux", "8.10"),
        kernel: "4.18.0-553.el8_10.x86_64",
    },
    Kind {
        el: 8,
        vendor: "rocky",
        os: ("rocky", "Rocky Linux", "8.10"),
        kernel: "4.18.0-553.el8_10.x86_64",
    },
    Kind {
        el: 8,
        vendor: "almalinux",
        os: ("almalinux", "AlmaLinux", "8.10"),
        kernel: "4.18.0-553.el8_10.x86_64",
    },
    Kind {
        el: 9,
        vendor: "rhel",
        os: ("rhel", "Red Hat Enterprise Linux", "9.6"),
        kernel: "5.14.0-570.el9_6.x86_64",
    },
    Kind {
        el: 9,
        vendor: "rocky",
        os: ("rocky", "Rocky Linux", "9.6"),
        kernel: "5.14.0-570.el9_6.x86_64",
    },
    Kind {
        el: 9,
        vendor: "almalinux",
        os: ("almalinux", "AlmaLinux", "9.6"),
        kernel: "5.14.0-570.el9_6.x86_64",
    },
    Kind {
        el: 10,
        vendor: "rhel",
        os: ("rhel", "Red Hat Enterprise Linux", "10.0"),
        kernel: "6.12.0-55.el10_0.x86_64",
    },
    Kind {
        el: 10,
        vendor: "rocky",
        os: ("rocky", "Rocky Linux", "10.0"),
        kernel: "6.12.0-55.el10_0.x86_64",
    },
    Kind {
        el: 10,
        vendor: "almalinux",
        os: ("almalinux", "AlmaLinux", "10.0"),
        kernel: "6.12.0-55.el10_0.x86_64",
    },
];

/// A root in a temporary directory.
pub(crate) struct Fake {
    directory: tempfile::TempDir,
}

impl Fake {
    pub(crate) fn new(kind: &Kind) -> Self {
        // In memory where that is possible: a plan syncs hundreds of times.
        let directory = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("directory");
        let fake = Self { directory };
        let Kind {
            el,
            os: (id, name, version),
            kernel,
            ..
        } = kind;
        fake.write(
            "etc/os-release",
            &format!(
                "NAME=\"{name}\"\nID=\"{id}\"\nVERSION_ID=\"{version}\"\nPLATFORM_ID=\"platform:el{el}\"\n"
            ),
        );
        fake.write("etc/group", "root:x:0:\nwheel:x:10:admin\n");
        fake.write(
            "usr/lib/sysctl.d/50-default.conf",
            "kernel.sysrq = 16\nnet.ipv4.conf.default.rp_filter = 2\n",
        );
        fake.write(
            "etc/sysctl.d/10-site.conf",
            "# ours\nkernel.kptr_restrict = 0\nvm.swappiness=10",
        );
        fake.write("etc/modprobe.d/tuned.conf", "options kvm nested=1\n");
        fake.write("usr/lib/modprobe.d/dist-blacklist.conf", "blacklist cramfs\n");
        fake.write(
            "etc/default/grub",
            "GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX=\"crashkernel=auto rhgb quiet\"\n",
        );
        if *el == 8 {
            let content = "# GRUB Environment Block\nsaved_entry=x\nkernelopts=root=/dev/mapper/r ro nopti crashkernel=auto\n";
            fake.write(
                "boot/grub2/grubenv",
                &format!("{content}{}", "#".repeat(1024 - content.len())),
            );
        }
        let options = if *el == 8 {
            "$kernelopts $tuned_params"
        } else {
            "root=/dev/mapper/r ro nopti crashkernel=1G"
        };
        for entry in [format!("id-{kernel}"), "id-0-rescue".to_owned()] {
            fake.write(
                &format!("boot/loader/entries/{entry}.conf"),
                &format!("title {name} ({kernel})\nversion {kernel}\nlinux /vmlinuz-{kernel}\noptions {options}\ngrub_users $grub_users\n"),
            );
        }
        if *el >= 9 {
            fake.write("etc/kernel/cmdline", "root=/dev/mapper/r ro crashkernel=1G\n");
        }
        fake.write("etc/fstab", "#\n/dev/mapper/r / xfs defaults 0 0\ntmpfs   /tmp  tmpfs  size=1G,exec  0 0\n/dev/sda2\t/home\txfs\tdefaults\t0 0\n");
        let include = if *el == 8 {
            ""
        } else {
            "Include /etc/ssh/sshd_config.d/*.conf\n"
        };
        fake.write(
            "etc/ssh/sshd_config",
            &format!("{include}#Port 22\nX11Forwarding yes\nMatch User x\n\tX11Forwarding no\n"),
        );
        if *el >= 9 {
            fake.write("etc/ssh/sshd_config.d/50-redhat.conf", "X11Forwarding yes\n");
        }
        fake.write(
            "usr/lib/systemd/system/cups.service",
            "[Unit]\nDescription=CUPS\n",
        );
        fake.write(
            "usr/lib/systemd/system/avahi-daemon.service",
            "[Unit]\nDescription=Avahi\n",
        );
        for (path, mode) in [
            ("usr/bin/chage", 0o4755),
            ("usr/bin/gpasswd", 0o4755),
            ("usr/bin/newgrp", 0o4755),
            ("usr/bin/ls", 0o755),
        ] {
            fake.write(path, "\u{7f}ELF");
            fs::set_permissions(fake.at(path), fs::Permissions::from_mode(mode)).expect("mode");
        }
        fake.write("etc/crypto-policies/config", "# This file\nDEFAULT\n");
        fake.write("etc/crypto-policies/state/current", "DEFAULT\n");
        for policy in ["DEFAULT", "FUTURE"] {
            fake.write(
                &format!("usr/share/crypto-policies/policies/{policy}.pol"),
                "mac = X\n",
            );
            for back_end in ["openssl", "gnutls", "nss"] {
                fake.write(
                    &format!("usr/share/crypto-policies/{policy}/{back_end}.txt"),
                    &format!("library=\nname=Policy\nconfig=\"{policy} {back_end}\"\n"),
                );
            }
        }
        // As p11-kit-trust has it: NSS's file is a text of its own, not a link.
        let own = "name=p11-kit-proxy\nlibrary=p11-kit-proxy.so\n";
        fake.write("etc/crypto-policies/local.d/nss-p11-kit.config", own);
        fake.write(
            "etc/crypto-policies/back-ends/nss.config",
            &format!("library=\nname=Policy\nconfig=\"DEFAULT nss\"\n{own}"),
        );
        for back_end in ["openssl", "gnutls"] {
            let target = format!("/usr/share/crypto-policies/DEFAULT/{back_end}.txt");
            symlink(
                target,
                fake.at(&format!("etc/crypto-policies/back-ends/{back_end}.config")),
            )
            .expect("link");
        }
        fake.write("etc/authselect/authselect.conf", "sssd\nwith-mkhomedir\n");
        for file in ["system-auth", "password-auth"] {
            let pwhistory = if *el == 8 {
                ""
            } else {
                "password requisite pam_pwhistory.so {include if \"with-pwhistory\"}\n"
            };
            fake.write(
                &format!("usr/share/authselect/default/sssd/{file}"),
                &format!(
                    "auth required pam_faillock.so preauth {{include if \"with-faillock\"}}\n\
                     auth sufficient pam_unix.so {{if not \"without-nullok\":nullok}}\n{pwhistory}"
                ),
            );
        }
        fake.write(
            "etc/firewalld/firewalld.conf",
            "# firewalld config file\nDefaultZone=public\nLogDenied=off\n",
        );
        for zone in ["public", "drop"] {
            fake.write(&format!("usr/lib/firewalld/zones/{zone}.xml"), "<zone/>\n");
        }
        // The running kernel, for tests that take the root for a live one.
        for (name, value) in [
            ("kernel/kptr_restrict", "0"),
            ("kernel/dmesg_restrict", "0"),
            ("kernel/yama/ptrace_scope", "2"),
            ("kernel/kexec_load_disabled", "0"),
            ("kernel/randomize_va_space", "2"),
            ("net/ipv4/conf/all/rp_filter", "0"),
        ] {
            fake.write(&format!("proc/sys/{name}"), &format!("{value}\n"));
        }
        fake.write("proc/modules", "usb_storage 90112 0 - Live 0x0\n");
        fake.write("proc/cmdline", "root=/dev/mapper/r ro nopti\n");
        fake
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(path, content).expect("file");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn append(&self, path: &str, content: &str) {
        let text = self.read(path) + content;
        self.write(path, &text);
    }

    /// Every file below the root but the journal: kind, mode, owner, content or link target. Directories too.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(self.path(), self.path(), &mut found);
        found.retain(|path, _| !path.starts_with("var"));
        found
    }
}

fn walk(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        let name = path
            .strip_prefix(root)
            .expect("within")
            .to_string_lossy()
            .into_owned();
        let owner = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
        if metadata.is_dir() {
            found.insert(name, owner);
            walk(root, &path, found);
        } else if metadata.is_symlink() {
            found.insert(
                name,
                format!("-> {}", fs::read_link(&path).expect("link").display()),
            );
        } else {
            found.insert(name, format!("{owner} {:?}", fs::read(&path).expect("content")));
        }
    }
}
