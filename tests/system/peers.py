"""Postfix, Exim, OpenSMTPD and Haraka, each a mail server for its own domain, all configured to the same effect.

    peer = PEERS["postfix"](path, ca)      peer.start() ... peer.stop()
    peer.name peer.domain peer.address     "postfix", "postfix.example", "192.0.2.11"; its exchanger is mx.postfix.example, port 25
    peer.why_not()                         why it cannot be tried here; None when it can
    peer.mails("box")                      what was delivered to box@, as bytes, with the line ends of the wire
    peer.admit()                           from now on later@ is taken; before, it is answered 4xx

At each of them there is box@, later@ and (where the server has SMTPUTF8) büro@; back@ is an alias of ada@penfold.example; all
else is refused.  Strangers must use TLS, and so does it itself, and verifies the certificate.  Mail for office.example goes to
Penfold's submission port with a password, all other mail by MX.  Messages over 300,000 bytes are refused.
"""
import glob
import os
import shutil
import subprocess

from conftest import BUILD, ROOT
from machines import SHARED, Machine

NET = "192.0.2"
HOME = f"{NET}.10"
SIZE_MAX = 300_000
USER, PASSWORD = "partner@penfold.example", "a secret"
ECDSA, RSA = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), ("rsa:2048",)
HARAKA = os.path.join(ROOT, "tests/interop/haraka")


class Authority:
    """A certificate authority of the tests: `file` is its certificate, `issue` makes what it vouches for."""

    def __init__(self, path):
        self.path = str(path)
        self.file, self.key = os.path.join(self.path, "ca.pem"), os.path.join(self.path, "ca.key")
        self.openssl("req", "-x509", *self.new_key(self.key), "-days", "2", "-out", self.file, "-subj", "/CN=Test authority")

    @staticmethod
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    @staticmethod
    def new_key(file, kind=ECDSA):
        return "-newkey", *kind, "-nodes", "-keyout", file

    def issue(self, name, folder, kind=ECDSA):
        """(certificate, key): two files in folder."""
        cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        self.openssl("req", "-x509", *self.new_key(key, kind), "-CA", self.file, "-CAkey", self.key, "-days", "2", "-out", cert,
                     "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE")
        return cert, key


class Peer(Machine):
    packaged, key_kind = True, ECDSA
    utf8, dsn, keeps_connections, verified = True, True, True, None
    reports = "action", "diagnostic", "original", "envelope"  # what its reports have of RFC 3464

    def __init__(self, path, authority):
        super().__init__(path, self.name, os.path.join(BUILD, "peers", self.name) if self.packaged else None, users=self.system_users)
        self.domain, self.mx, self.address = f"{self.name}.example", f"mx.{self.name}.example", f"{NET}.{self.number}"
        os.chmod(self.dir, 0o755)
        self.cert, self.key = authority.issue(self.mx, self.dir, self.key_kind)
        os.chmod(self.cert, 0o644)
        self.add({"/etc/ssl/certs/ca-certificates.crt": open(authority.file).read(), "/etc/mailname": self.mx + "\n"})
        self.known = os.path.join(self.dir, "known")
        self.configure()

    @classmethod
    def why_not(cls):
        return None if os.path.exists(os.path.join(BUILD, "peers", cls.name, cls.program)) else f"{cls.name} is not there (tools/peers get)"

    def admit(self):
        open(self.known, "w").close()

    def mails(self, box):
        """Each message of a mailbox, with the line ends it had on the wire."""
        found = []
        for file in sorted(glob.glob(os.path.join(self.dir, "mail", box, "new", "*"))):
            with open(file, "rb") as f:
                found.append(f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return found

    def said(self):
        """All that it logged."""
        return "".join(open(file, errors="replace").read() for file in self.logs() if os.path.exists(file))

    def logs(self):
        return [self.log]


class Postfix(Peer):
    verified = r"Verified TLS connection established to mx\.penfold\.example"
    name, number, system_users, program = "postfix", 11, ("postfix", "postdrop", "box"), "usr/sbin/postconf"

    def configure(self):
        d, box = SHARED, self.users["box"]
        self.folder("queue"), self.folder("data", self.users["postfix"]), self.folder("mail", box)

        def table(rows):
            return "inline:{ " + ", ".join(f"{{ {key} = {value} }}" for key, value in rows.items()) + " }"

        self.add({"/etc/postfix/main.cf": f"""
compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = {self.mx}
mydestination =
inet_interfaces = 127.0.0.1
smtp_bind_address = {self.address}
inet_protocols = ipv4
mynetworks = {NET}.0/24
alias_maps =
local_recipient_maps =
smtputf8_enable = yes
maillog_file = {d}/log
maillog_file_prefixes = /
message_size_limit = {SIZE_MAX}
virtual_mailbox_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient, check_recipient_access {table({"later@" + self.domain: "is_known"})}
smtpd_restriction_classes = is_known
is_known = check_policy_service unix:private/known
smtpd_tls_security_level = encrypt
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtpd_tls_chain_files = {d}/key.pem, {d}/cert.pem
smtp_tls_security_level = verify
smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt
smtp_tls_loglevel = 1
smtp_tls_connection_reuse = yes
smtp_connection_cache_destinations = penfold.example
transport_maps = {table({"office.example": "smtp:[mx.penfold.example]:587"})}
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = {table({"[mx.penfold.example]:587": f"{USER}:{PASSWORD}"})}
virtual_mailbox_domains = {self.domain}
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = {table({f"{b}@{self.domain}": f"{b}/" for b in ("box", "later", "büro")})}
virtual_alias_maps = {table({"back@" + self.domain: "ada@penfold.example"})}
virtual_uid_maps = static:{box}
virtual_gid_maps = static:{box}
virtual_minimum_uid = 1
""", "/etc/postfix/master.cf": f"""
{self.address}:smtp inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
known unix - n n - 0 spawn user=box argv=/bin/sh /etc/postfix/known
""", "/etc/postfix/known": f"""
while read -r line; do
    [ -z "$line" ] || continue
    if [ -e {d}/known ]; then echo action=DUNNO; else echo action=450 4.7.1 not known yet; fi
    echo
done
"""})

    def start(self):
        return super().start(["/usr/sbin/postfix", "start-fg"])

    def logs(self):
        return [os.path.join(self.dir, "log"), self.log]


class Exim(Peer):
    keeps_connections = False  # it does when its queue is long
    reports = "action", "diagnostic", "envelope"
    verified = r"=> ada@penfold\.example .* CV=yes"
    name, number, system_users, program = "exim", 12, ("Debian-exim", "box"), "usr/sbin/exim4"

    def configure(self):
        d, box = SHARED, self.users["box"]
        self.folder("spool", self.users["Debian-exim"]), self.folder("mail", box)
        os.chown(self.key, self.users["Debian-exim"], 0)
        self.add({"/etc/exim4/exim4.conf": f"""
primary_hostname = {self.mx}
spool_directory = {d}/spool
log_file_path = {d}/spool/%slog
log_selector = +tls_cipher +tls_certificate_verified +received_recipients
local_interfaces = {self.address}
daemon_smtp_ports = 25
never_users =
rfc1413_query_timeout = 0s
keep_environment =
host_lookup =
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data
tls_advertise_hosts = *
tls_certificate = {d}/cert.pem
tls_privatekey = {d}/key.pem
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
message_size_limit = {SIZE_MAX}
queue_run_in_order
begin acl
mail:
  deny message = TLS first
       !encrypted = *
  accept
rcpt:
  defer message = 4.7.1 not known yet
        domains = {self.domain}
        local_parts = later
        !condition = ${{if exists{{{d}/known}}}}
  deny message = nobody here
       domains = {self.domain}
       !verify = recipient
  accept hosts = {NET}.0/24
data:
  accept
begin routers
back:
  driver = redirect
  domains = {self.domain}
  local_parts = back
  data = ada@penfold.example
boxes:
  driver = accept
  domains = {self.domain}
  local_parts = box : later : büro
  transport = box
office:
  driver = manualroute
  domains = office.example
  route_list = * mx.penfold.example
  self = send
  transport = office
exchangers:
  driver = dnslookup
  domains = ! {self.domain}
  transport = out
  no_more
begin transports
out:
  driver = smtp
  interface = {self.address}
  hosts_require_tls = *
  tls_verify_certificates = /etc/ssl/certs/ca-certificates.crt
  tls_verify_hosts = *
office:
  driver = smtp
  port = 587
  interface = {self.address}
  hosts_require_tls = *
  hosts_require_auth = *
  tls_verify_certificates = /etc/ssl/certs/ca-certificates.crt
  tls_verify_hosts = *
box:
  driver = appendfile
  directory = {d}/mail/$local_part_data
  maildir_format
  user = box
  group = box
begin retry
* * F,1h,2s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{USER}^{PASSWORD}
"""})

    def start(self):
        return super().start(["/usr/sbin/exim4", "-bdf", "-q5s"])

    def logs(self):
        return [os.path.join(self.dir, "spool/mainlog"), os.path.join(self.dir, "spool/paniclog"), self.log]


class OpenSMTPD(Peer):
    verified = r"mta server-cert-check result=\"success\""
    name, number, system_users, program = "opensmtpd", 13, ("opensmtpd", "opensmtpq", "box"), "usr/sbin/smtpd"
    utf8 = False
    reports = "action",
    key_kind = RSA

    def configure(self):
        d, box = SHARED, self.users["box"]
        self.folder("mail", box)
        self.add({"/etc/smtpd.conf": f"""
pki "mx" cert "{d}/cert.pem"
pki "mx" key "{d}/key.pem"
table boxes {{ "box@{self.domain}" = "box", "later@{self.domain}" = "box", "back@{self.domain}" = "ada@penfold.example" }}
table secrets {{ "penfold" = "{USER}:{PASSWORD}" }}
smtp max-message-size {SIZE_MAX}
mta limit conn-delay-host 0
mta limit conn-delay-source 0
mta limit conn-delay-connector 0
mta limit conn-delay-relay 0
mta limit conn-delay-domain 0
filter known proc-exec "/bin/sh /etc/known"
listen on {self.address} tls-require pki "mx" hostname {self.mx} filter known
action "boxes" maildir "{d}/mail/%{{rcpt.user}}" virtual <boxes>
action "office" relay host smtp+tls://penfold@mx.penfold.example:587 auth <secrets> helo {self.mx} src {self.address}
action "out" relay tls helo {self.mx} src {self.address}
match from any for domain "{self.domain}" action "boxes"
match from any for domain "office.example" action "office"
match from any for any action "out"
""", "/etc/known": f"""
while IFS='|' read -r kind version time system phase session token address; do
    [ "$kind|$version" != "config|ready" ] || printf 'register|filter|smtp-in|rcpt-to\\nregister|ready\\n'
    [ "$kind" = filter ] || continue
    case $address in
    *later@*) if [ -e {d}/known ]; then said=proceed; else said='reject|451 4.7.1 not known yet'; fi ;;
    *) said=proceed ;;
    esac
    printf 'filter-result|%s|%s|%s\\n' "$session" "$token" "$said"
done
""", "/var/spool/smtpd/.keep": "", "/var/lib/opensmtpd/empty/.keep": ""})
        os.chmod(self.layer + "/etc/smtpd.conf", 0o600)
        subprocess.run(["cc", "-shared", "-fPIC", "-Wno-deprecated-declarations", "-o", self.layer + "/etc/openssl3.so",
                        os.path.join(ROOT, "tests/interop/opensmtpd/openssl3.c"), "-ldl"], check=True, capture_output=True)

    def start(self):
        spool = "mount -t tmpfs -o mode=711 tmpfs /var/spool/smtpd"
        return super().start(["sh", "-c", spool + " && LD_PRELOAD=/etc/openssl3.so exec /usr/sbin/smtpd -dv"])


class Haraka(Peer):
    verified = r"verified=true"
    name, number, system_users, packaged = "haraka", 14, ("box",), False
    dsn = keeps_connections = False
    reports = "original", "envelope"  # those are Penfold's; of its own the fields get lost when others of the mail's recipients were taken

    @classmethod
    def why_not(cls):
        if not shutil.which("node"):
            return "node is not there"
        return None if os.path.exists(os.path.join(HARAKA, "node_modules/Haraka")) else "haraka is not there (tools/peers get)"

    def configure(self):
        d = SHARED
        for folder in "queue", "mail", "plugins", "config":
            self.folder(folder)
        shutil.copy(os.path.join(HARAKA, "partner.js"), os.path.join(self.dir, "plugins/partner.js"))
        for part in glob.glob(os.path.join(HARAKA, "node_modules/Haraka/config/outbound.bounce_message*")):
            shutil.copy(part, os.path.join(self.dir, "config"))
        self.add_below({
            "smtp.ini": f"listen={self.address}:25\n", "me": self.mx, "plugins": "tls\npartner\n", "loglevel": "INFO",
            "connection.ini": self.limits(),
            "tls.ini": f"key={d}/key.pem\ncert={d}/cert.pem\n[outbound]\nrejectUnauthorized=true\n"
            "force_tls_hosts[]=penfold.example\nforce_tls_hosts[]=office.example\n",
            "outbound.ini": "temp_fail_intervals=5s*20\nlocal_mx_ok=true\n",
            "partner.ini": f"domain={self.domain}\nmail={d}/mail\nknown={d}/known\nuser={USER}\npassword={PASSWORD}\n"})

    @staticmethod
    def limits():
        """As it comes, but for the size, and for the lines: it would cut them at 992 bytes, and RFC 5322 allows 998."""
        text = open(os.path.join(HARAKA, "node_modules/Haraka/config/connection.ini")).read()
        return text.replace("\nbytes=26214400", f"\nbytes={SIZE_MAX}").replace("\ndata_line_length=992", "\ndata_line_length=1001")

    def add_below(self, files):
        for name, text in files.items():
            with open(os.path.join(self.dir, "config", name), "w") as f:
                f.write(text)

    def start(self):
        node = shutil.which("node")
        return super().start([node, os.path.join(HARAKA, "node_modules/Haraka/bin/haraka"), "-c", SHARED],
                             {"NODE_EXTRA_CA_CERTS": "/etc/ssl/certs/ca-certificates.crt"})


PEERS = {one.name: one for one in (Postfix, Exim, OpenSMTPD, Haraka)}
