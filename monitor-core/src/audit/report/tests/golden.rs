//! Whole texts of the small report. `UPDATE_EXPECT=1 cargo test` rewrites them.
#![expect(
    clippy::needless_raw_string_hashes,
    reason = "the texts are written by expect-test"
)]

use super::{Format, render, sample};
use expect_test::expect;

#[test]
fn table() {
    expect![[r#"
        hardpan 0.1.0 audit of web01.example.com
          system     Rocky Linux 9.6 (Blue Onyx), 5.14.0-570.12.1.el9_6.x86_64, x86_64
          benchmark  CIS Enterprise Linux 9 (cis-rhel9 2.0.0)
          profile    Level 1, server (cis-l1-server)
          time       2026-11-22 05:10:00 UTC, 3 s
          coverage   7 of 10 controls checked; 1 could not be decided; 1 to be answered by a person; 1 not
                     implemented

        1 Initial setup
          1.1.2.1  fail (waived)      L1      /tmp is a file system of its own
              /proc/self/mountinfo: expected a mount at /tmp, found none
              waived by ops@example.com, until 2027-03-31: build host, moves to its own disk with ticket
              4711
              remedy: systemctl unmask tmp.mount
                      systemctl enable --now tmp.mount
          1.2.1.1  notchecked         L1      Package signing keys are the vendor's
              Do you know each of these keys?
                rpmdb: gpg-pubkey-350d275d (Rocky Enterprise)
          1.5.1    fail               L1      Address space layout randomization is full
              kernel.randomize_va_space: expected 2, found 1
              remedy: hardpan harden plan (sysctl kernel.randomize_va_space)

        5 Access control
          5.1.20   fail               L1      root cannot log in by SSH
              sshd -T: expected permitrootlogin no, found yes
              waived by ops@example.com, expired 2026-06-30: until the bastion is there
              remedy: echo 'PermitRootLogin no' > /etc/ssh/sshd_config.d/00-root.conf; systemctl reload sshd
          5.2.3    error              L1      sudo writes a log file
              /etc/sudoers: Permission denied

        6 Logging and auditing
          6.3.2.1  informational      L2      Room for audit logs
              for information
                /etc/audit/auditd.conf:12: max_log_file = 8

        Summary
          chapter                                        pass   fail waived  error  other  score
          1 Initial setup                                   2      2      1      0      1   50.0
          5 Access control                                  0      1      0      1      0    0.0
          6 Logging and auditing                            0      0      0      0      3      –
          all                                               2      3      1      1      4   33.3
          failed: 2 high, 1 medium
          score = pass / (pass + fail + error), in percent; waived is the part of fail with a waiver in
          force
    "#]]
    .assert_eq(&render(&sample(), Format::Table));
}

#[test]
fn csv() {
    expect![[r#"
        id,level,title,result,expected,actual,evidence,time,host,waiver,chapter,severity,checks,references,reason,remediation
        1.1.1.1,L1,The kernel module cramfs cannot be loaded,pass,absent,absent,/lib/modules/5.14.0,2026-11-22T05:10:03Z,web01.example.com,,1 Initial setup,low,hp-kmod-cramfs,"CCE CCE-83853-2; SSG kernel_module_cramfs_disabled",the kernel has no module cramfs,
        1.1.2.1,L1,/tmp is a file system of its own,fail (waived),a mount at /tmp,none,/proc/self/mountinfo,2026-11-22T05:10:03Z,web01.example.com,"waived by ops@example.com, until 2027-03-31: build host, moves to its own disk with ticket 4711",1 Initial setup,medium,hp-mount-tmp,,"/proc/self/mountinfo: expected a mount at /tmp, found none",systemctl unmask tmp.mount systemctl enable --now tmp.mount
        1.2.1.1,L1,Package signing keys are the vendor's,notchecked,,gpg-pubkey-350d275d (Rocky Enterprise),rpmdb,2026-11-22T05:10:03Z,web01.example.com,,1 Initial setup,unknown,,,Do you know each of these keys?,
        1.5.1,L1,Address space layout randomization is full,fail,2,1,/proc/sys/kernel/randomize_va_space,2026-11-22T05:10:03Z,web01.example.com,,1 Initial setup,high,hp-sysctl-aslr hp-sysctl-aslr-disk,"CCE CCE-83971-2; STIG RHEL-09-213070","kernel.randomize_va_space: expected 2, found 1",hardpan harden plan (sysctl kernel.randomize_va_space)
        1.3.1.1,L1,SELinux tools are installed,pass (configured),,,,2026-11-22T05:10:03Z,web01.example.com,,1 Initial setup,unknown,hp-selinux-installed,,package libselinux is installed,
        5.1.20,L1,root cannot log in by SSH,fail,permitrootlogin no,permitrootlogin yes,sshd -T,2026-11-22T05:10:03Z,web01.example.com,"waived by ops@example.com, expired 2026-06-30: until the bastion is there",5 Access control,high,hp-sshd-root,,"sshd -T: expected permitrootlogin no, found yes","echo 'PermitRootLogin no' > /etc/ssh/sshd_config.d/00-root.conf; systemctl reload sshd"
        5.2.3,L1,sudo writes a log file,error,,,,2026-11-22T05:10:03Z,web01.example.com,,5 Access control,medium,hp-sudo-log,,/etc/sudoers: Permission denied,
        6.2.3.1,L1,rsyslog is installed,notapplicable,,,,2026-11-22T05:10:03Z,web01.example.com,,6 Logging and auditing,unknown,hp-rsyslog,,the logger in use is journald,
        6.3.2.1,L2,Room for audit logs,informational,,max_log_file = 8,/etc/audit/auditd.conf:12,2026-11-22T05:10:03Z,web01.example.com,,6 Logging and auditing,unknown,hp-audit-space,,for information,
        6.3.4,L2,Audit tools keep their digests,notchecked,,,,2026-11-22T05:10:03Z,web01.example.com,,6 Logging and auditing,unknown,,,no check for this control yet,
    "#]].assert_eq(&render(&sample(), Format::Csv).replace("\r\n", "\n"));
}

#[test]
fn junit() {
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="cis-rhel9.cis-l1-server" tests="10" failures="3" errors="1" skipped="4" time="0.000507">
         <testsuite name="cis-rhel9.cis-l1-server.1" tests="5" failures="2" errors="0" skipped="1" time="0.000507" timestamp="2026-11-22T05:10:00" hostname="web01.example.com">
          <testcase classname="cis-rhel9.cis-l1-server.1.1.1.1" name="1.1.1.1 The kernel module cramfs cannot be loaded" time="0.000412"/>
          <testcase classname="cis-rhel9.cis-l1-server.1.1.2.1" name="1.1.2.1 /tmp is a file system of its own" time="0.000000">
           <failure message="/proc/self/mountinfo: expected a mount at /tmp, found none [waived by ops@example.com, until 2027-03-31: build host, moves to its own disk with ticket 4711]" type="fail-waived">/proc/self/mountinfo: expected a mount at /tmp, found none (differs)
        remedy: systemctl unmask tmp.mount
        systemctl enable --now tmp.mount</failure>
          </testcase>
          <testcase classname="cis-rhel9.cis-l1-server.1.2.1.1" name="1.2.1.1 Package signing keys are the vendor&apos;s" time="0.000000">
           <skipped message="notchecked: Do you know each of these keys?"/>
          </testcase>
          <testcase classname="cis-rhel9.cis-l1-server.1.5.1" name="1.5.1 Address space layout randomization is full" time="0.000095">
           <failure message="kernel.randomize_va_space: expected 2, found 1" type="fail">/proc/sys/kernel/randomize_va_space: expected 2, found 1 (differs)
        /etc/sysctl.d/60-hardening.conf:4: expected 2, found 2 (as wanted)
        remedy: hardpan harden plan (sysctl kernel.randomize_va_space)</failure>
          </testcase>
          <testcase classname="cis-rhel9.cis-l1-server.1.3.1.1" name="1.3.1.1 SELinux tools are installed" time="0.000000"/>
         </testsuite>
         <testsuite name="cis-rhel9.cis-l1-server.5" tests="2" failures="1" errors="1" skipped="0" time="0.000000" timestamp="2026-11-22T05:10:00" hostname="web01.example.com">
          <testcase classname="cis-rhel9.cis-l1-server.5.1.20" name="5.1.20 root cannot log in by SSH" time="0.000000">
           <failure message="sshd -T: expected permitrootlogin no, found yes [waived by ops@example.com, expired 2026-06-30: until the bastion is there]" type="fail">sshd -T: expected permitrootlogin no, found permitrootlogin yes (differs)
        remedy: echo &apos;PermitRootLogin no&apos; &gt; /etc/ssh/sshd_config.d/00-root.conf; systemctl reload sshd</failure>
          </testcase>
          <testcase classname="cis-rhel9.cis-l1-server.5.2.3" name="5.2.3 sudo writes a log file" time="0.000000">
           <error message="/etc/sudoers: Permission denied" type="error"></error>
          </testcase>
         </testsuite>
         <testsuite name="cis-rhel9.cis-l1-server.6" tests="3" failures="0" errors="0" skipped="3" time="0.000000" timestamp="2026-11-22T05:10:00" hostname="web01.example.com">
          <testcase classname="cis-rhel9.cis-l1-server.6.2.3.1" name="6.2.3.1 rsyslog is installed" time="0.000000">
           <skipped message="notapplicable: the logger in use is journald"/>
          </testcase>
          <testcase classname="cis-rhel9.cis-l1-server.6.3.2.1" name="6.3.2.1 Room for audit logs" time="0.000000">
           <skipped message="informational: for information"/>
          </testcase>
          <testcase classname="cis-rhel9.cis-l1-server.6.3.4" name="6.3.4 Audit tools keep their digests" time="0.000000">
           <skipped message="notchecked: no check for this control yet"/>
          </testcase>
         </testsuite>
        </testsuites>
    "#]].assert_eq(&render(&sample(), Format::Junit));
}

#[test]
fn json_lines() {
    expect![[r#"
        {"type":"report","schema":"hardpan-report/1","start_time":"2026-11-22T05:10:00Z","end_time":"2026-11-22T05:10:03Z","tool":{"name":"hardpan","version":"0.1.0"},"target":{"name":"web01.example.com","machine_id":"4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d","os_id":"rocky","os_like":"rhel centos fedora","os_version":"9.6","os_name":"Rocky Linux 9.6 (Blue Onyx)","arch":"x86_64","kernel":"5.14.0-570.12.1.el9_6.x86_64","addresses":["192.0.2.10","2001:db8::10"]},"benchmark":{"id":"cis-rhel9","version":"2.0.0","title":"CIS Enterprise Linux 9"},"profile":{"id":"cis-l1-server","title":"Level 1, server"},"summary":{"total":10,"pass":2,"fail":3,"waived":1,"error":1,"unknown":0,"notapplicable":1,"notchecked":2,"notselected":0,"informational":1,"score":33.333333333333336,"coverage":{"controls":10,"checked":7,"undecided":1,"manual":1,"not_implemented":1,"not_checked":0},"chapters":[{"id":"1","title":"Initial setup","total":5,"pass":2,"fail":2,"waived":1,"error":0,"unknown":0,"notapplicable":0,"notchecked":1,"notselected":0,"informational":0,"score":50.0},{"id":"5","title":"Access control","total":2,"pass":0,"fail":1,"waived":0,"error":1,"unknown":0,"notapplicable":0,"notchecked":0,"notselected":0,"informational":0,"score":0.0},{"id":"6","title":"Logging and auditing","total":3,"pass":0,"fail":0,"waived":0,"error":0,"unknown":0,"notapplicable":1,"notchecked":1,"notselected":0,"informational":1}]}}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"1.1.1.1","chapter":{"id":"1","title":"Initial setup"},"title":"The kernel module cramfs cannot be loaded","checks":["hp-kmod-cramfs"],"references":[{"kind":"cce","id":"CCE-83853-2"},{"kind":"ssg","id":"kernel_module_cramfs_disabled"}],"level":"L1","severity":"low","means":"automated","result":"pass","reason":"the kernel has no module cramfs","evidence":[{"source":"/lib/modules/5.14.0","expected":"absent","found":"absent","ok":true}],"duration_us":412}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"1.1.2.1","chapter":{"id":"1","title":"Initial setup"},"title":"/tmp is a file system of its own","checks":["hp-mount-tmp"],"level":"L1","severity":"medium","means":"automated","result":"fail","reason":"/proc/self/mountinfo: expected a mount at /tmp, found none","evidence":[{"source":"/proc/self/mountinfo","expected":"a mount at /tmp","found":"none","ok":false}],"waiver":{"reason":"build host, moves to its own disk with ticket 4711","owner":"ops@example.com","expires":"2027-03-31","expired":false},"remedy":"systemctl unmask tmp.mount\nsystemctl enable --now tmp.mount","side_effect":"programs that put large files into /tmp"}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"1.2.1.1","chapter":{"id":"1","title":"Initial setup"},"title":"Package signing keys are the vendor's","level":"L1","severity":"unknown","means":"manual","result":"notchecked","reason":"Do you know each of these keys?","evidence":[{"source":"rpmdb","found":"gpg-pubkey-350d275d (Rocky Enterprise)"}]}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"1.5.1","chapter":{"id":"1","title":"Initial setup"},"title":"Address space layout randomization is full","checks":["hp-sysctl-aslr","hp-sysctl-aslr-disk"],"references":[{"kind":"cce","id":"CCE-83971-2"},{"kind":"stig","id":"RHEL-09-213070"}],"level":"L1","severity":"high","means":"automated","result":"fail","reason":"kernel.randomize_va_space: expected 2, found 1","evidence":[{"source":"/proc/sys/kernel/randomize_va_space","expected":"2","found":"1","ok":false},{"source":"/etc/sysctl.d/60-hardening.conf:4","expected":"2","found":"2","ok":true}],"remedy":"hardpan harden plan (sysctl kernel.randomize_va_space)","duration_us":95}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"1.3.1.1","chapter":{"id":"1","title":"Initial setup"},"title":"SELinux tools are installed","checks":["hp-selinux-installed"],"level":"L1","severity":"unknown","means":"automated","result":"pass","reason":"package libselinux is installed","configured_only":true}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"5.1.20","chapter":{"id":"5","title":"Access control"},"title":"root cannot log in by SSH","checks":["hp-sshd-root"],"level":"L1","severity":"high","means":"automated","result":"fail","reason":"sshd -T: expected permitrootlogin no, found yes","evidence":[{"source":"sshd -T","expected":"permitrootlogin no","found":"permitrootlogin yes","ok":false}],"waiver":{"reason":"until the bastion is there","owner":"ops@example.com","expires":"2026-06-30","expired":true},"remedy":"echo 'PermitRootLogin no' > /etc/ssh/sshd_config.d/00-root.conf; systemctl reload sshd"}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"5.2.3","chapter":{"id":"5","title":"Access control"},"title":"sudo writes a log file","checks":["hp-sudo-log"],"level":"L1","severity":"medium","means":"automated","result":"error","reason":"/etc/sudoers: Permission denied"}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"6.2.3.1","chapter":{"id":"6","title":"Logging and auditing"},"title":"rsyslog is installed","checks":["hp-rsyslog"],"level":"L1","severity":"unknown","means":"automated","result":"notapplicable","reason":"the logger in use is journald"}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"6.3.2.1","chapter":{"id":"6","title":"Logging and auditing"},"title":"Room for audit logs","checks":["hp-audit-space"],"level":"L2","severity":"unknown","means":"automated","result":"informational","reason":"for information","evidence":[{"source":"/etc/audit/auditd.conf:12","found":"max_log_file = 8"}]}
        {"type":"rule","time":"2026-11-22T05:10:03Z","host":"web01.example.com","benchmark":"cis-rhel9 2.0.0","control":"6.3.4","chapter":{"id":"6","title":"Logging and auditing"},"title":"Audit tools keep their digests","level":"L2","severity":"unknown","means":"not-implemented","result":"notchecked","reason":"no check for this control yet"}
    "#]].assert_eq(&render(&sample(), Format::JsonLines));
}

#[test]
fn xccdf() {
    let mut report = sample();
    report.rules.truncate(2);
    expect![[r##"
        <?xml version="1.0" encoding="UTF-8"?>
        <Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" id="xccdf_hardpan_benchmark_cis-rhel9" resolved="1" xml:lang="en">
         <status date="2026-11-22">accepted</status>
         <title>CIS Enterprise Linux 9</title>
         <description>Carries the results of an audit. Ids and levels are those of the benchmark; titles are the auditing program&apos;s own words, not the benchmark publisher&apos;s text.</description>
         <platform idref="cpe:/o:rocky:rocky:9"/>
         <version>2.0.0</version>
         <metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
          <dc:publisher>hardpan</dc:publisher>
          <dc:creator>hardpan</dc:creator>
          <dc:contributor>hardpan</dc:contributor>
          <dc:source>hardpan</dc:source>
         </metadata>
         <model system="urn:xccdf:scoring:default"/>
         <model system="urn:xccdf:scoring:flat-unweighted"/>
         <Profile id="xccdf_hardpan_profile_cis-l1-server">
          <title>Level 1, server</title>
          <description>Profile cis-l1-server</description>
          <select idref="xccdf_hardpan_rule_1.1.1.1" selected="true"/>
          <select idref="xccdf_hardpan_rule_1.1.2.1" selected="true"/>
         </Profile>
         <Group id="xccdf_hardpan_group_1">
          <title>1 Initial setup</title>
          <description>1 Initial setup</description>
          <Rule id="xccdf_hardpan_rule_1.1.1.1" severity="low" weight="1.0" selected="false">
           <title>1.1.1.1 The kernel module cramfs cannot be loaded</title>
           <description>The kernel module cramfs cannot be loaded (level L1)</description>
           <reference href="urn:hardpan:audit:benchmark:cis-rhel9:2.0.0">1.1.1.1</reference>
           <reference href="urn:hardpan:audit:reference:ssg">SSG kernel_module_cramfs_disabled</reference>
           <rationale>See the benchmark.</rationale>
           <ident system="https://ncp.nist.gov/cce">CCE-83853-2</ident>
           <check system="urn:hardpan:audit:check">
            <check-content-ref href="urn:hardpan:audit:check:hp-kmod-cramfs"/>
           </check>
          </Rule>
          <Rule id="xccdf_hardpan_rule_1.1.2.1" severity="medium" weight="1.0" selected="false">
           <title>1.1.2.1 /tmp is a file system of its own</title>
           <description>/tmp is a file system of its own (level L1)</description>
           <warning category="functionality">programs that put large files into /tmp</warning>
           <reference href="urn:hardpan:audit:benchmark:cis-rhel9:2.0.0">1.1.2.1</reference>
           <rationale>See the benchmark.</rationale>
           <fixtext>systemctl unmask tmp.mount
        systemctl enable --now tmp.mount</fixtext>
           <check system="urn:hardpan:audit:check">
            <check-content-ref href="urn:hardpan:audit:check:hp-mount-tmp"/>
           </check>
          </Rule>
         </Group>
         <TestResult id="xccdf_hardpan_testresult_cis-rhel9-cis-l1-server-1795324203" start-time="2026-11-22T05:10:00Z" end-time="2026-11-22T05:10:03Z" version="2.0.0" test-system="cpe:2.3:a:hardpan:hardpan:0.1.0:*:*:*:*:*:*:*">
          <benchmark href="#xccdf_hardpan_benchmark_cis-rhel9" id="xccdf_hardpan_benchmark_cis-rhel9"/>
          <title>CIS Enterprise Linux 9: Level 1, server</title>
          <remark>2 of 2 controls checked</remark>
          <organization>hardpan</organization>
          <identity authenticated="true" privileged="true">root</identity>
          <profile idref="xccdf_hardpan_profile_cis-l1-server"/>
          <target>web01.example.com</target>
          <target-address>192.0.2.10</target-address>
          <target-address>2001:db8::10</target-address>
          <target-facts>
           <fact name="urn:xccdf:fact:identifier" type="string">4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d</fact>
           <fact name="urn:xccdf:fact:asset:identifier:host_name" type="string">web01.example.com</fact>
           <fact name="urn:xccdf:fact:asset:identifier:fqdn" type="string">web01.example.com</fact>
           <fact name="urn:xccdf:fact:scanner:name" type="string">hardpan</fact>
           <fact name="urn:xccdf:fact:scanner:version" type="string">0.1.0</fact>
           <fact name="urn:hardpan:fact:os" type="string">Rocky Linux 9.6 (Blue Onyx)</fact>
           <fact name="urn:hardpan:fact:kernel" type="string">5.14.0-570.12.1.el9_6.x86_64</fact>
           <fact name="urn:hardpan:fact:architecture" type="string">x86_64</fact>
          </target-facts>
          <platform idref="cpe:/o:rocky:rocky:9"/>
          <rule-result idref="xccdf_hardpan_rule_1.1.1.1" time="2026-11-22T05:10:03Z" severity="low" weight="1.0">
           <result>pass</result>
           <ident system="https://ncp.nist.gov/cce">CCE-83853-2</ident>
           <message severity="info">the kernel has no module cramfs</message>
           <message severity="info">/lib/modules/5.14.0: expected absent, found absent (as wanted)</message>
           <check system="urn:hardpan:audit:check">
            <check-content-ref href="urn:hardpan:audit:check:hp-kmod-cramfs"/>
           </check>
          </rule-result>
          <rule-result idref="xccdf_hardpan_rule_1.1.2.1" time="2026-11-22T05:10:03Z" severity="medium" weight="1.0">
           <result>fail</result>
           <message severity="info">/proc/self/mountinfo: expected a mount at /tmp, found none</message>
           <message severity="warning">/proc/self/mountinfo: expected a mount at /tmp, found none (differs)</message>
           <message severity="warning">waived by ops@example.com, until 2027-03-31: build host, moves to its own disk with ticket 4711</message>
           <check system="urn:hardpan:audit:check">
            <check-content-ref href="urn:hardpan:audit:check:hp-mount-tmp"/>
           </check>
          </rule-result>
          <score system="urn:xccdf:scoring:default" maximum="100">50.0000</score>
          <score system="urn:xccdf:scoring:flat-unweighted" maximum="2">1</score>
         </TestResult>
        </Benchmark>
    "##]].assert_eq(&render(&report, Format::Xccdf));
}
