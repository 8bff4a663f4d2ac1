/* cmd_init.c - penfold init: a configuration to begin with, a certificate, and what is to be done next. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_conf.h"
#include "dns/dns.h"
#include "sys/tls.h"

static const struct cli_option options[] = {
    {.name = "dir",
     .value = "DIR",
     .fallback = "/etc/penfold",
     .sentence = "Where penfold.conf and the certificate are written; made if it is not there."},
    {.name = "hostname", .value = "NAME", .sentence = "The server's name. Without it mail.DOMAIN."},
    {.name = "data",
     .value = "DIR",
     .sentence = "Where the server will keep mail. Without it /var/lib/penfold for root, else "
                 "$XDG_STATE_HOME/penfold-server or ~/.local/state/penfold-server."},
    {.name = "user",
     .value = "NAME",
     .fallback = "penfold",
     .sentence = "The user the roles run as when root starts them."},
};

const struct cli_page cli_init_page = {
    .name = "init",
    .operands = "DOMAIN",
    .operands_min = 1,
    .operands_max = 1,
    .sentence = "Write a configuration for a mail server, and tell what to publish in the DNS.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

/* @WORDS@ are replaced. */
static const char configuration[] =
    "# penfold.conf - the mail server of @DOMAIN@.  Written by penfold init; yours from now on.\n"
    "# All settings: man penfold.conf.  After a change: penfold conf check @FILE@\n"
    "# and then reload (SIGHUP): no session is lost, and a file with mistakes changes nothing.\n"
    "\n"
    "mode server\n"
    "\n"
    "# The name in greetings, traces and EHLO.  The address of this machine must lead back to it (a PTR record), or\n"
    "# many servers will refuse its mail.\n"
    "hostname \"@HOSTNAME@\"\n"
    "\n"
    "data \"@DATA@\"\n"
    "user \"@USER@\"\n"
    "\n"
    "# A certificate to begin with: it encrypts, but nobody has signed it, so mail programs will warn.  Put one for\n"
    "# @HOSTNAME@ of an authority in its place, and reload.\n"
    "tls_certificate \"@DIR@/tls/cert.pem\"\n"
    "tls_key \"@DIR@/tls/key.pem\"\n"
    "\n"
    "# Names are looked up from the root servers down, with DNSSEC.  Where that is not allowed out, name a server:\n"
    "#dns 192.0.2.53\n"
    "# or take those of resolv.conf, and where these remove signatures, do without:\n"
    "#dns system\n"
    "#dns_anchor none\n"
    "\n"
    "# Mail for the addresses of this domain is ours.  Accounts are made with: penfold account add ADDRESS\n"
    "domain @DOMAIN@ {\n"
    "    # Letters to ada+lists@ go to ada@, folder lists.\n"
    "    separator \"+\"\n"
    "}\n"
    "\n"
    "# Other servers bring mail here.  It is taken for our domains only.\n"
    "listen mx {\n"
    "    address 0.0.0.0:25\n"
    "    policy mx\n"
    "    tls starttls\n"
    "}\n"
    "\n"
    "# Our users send mail here, once they have shown who they are.\n"
    "listen submission {\n"
    "    address 0.0.0.0:587\n"
    "    policy submission\n"
    "    tls starttls\n"
    "    auth required\n"
    "}\n"
    "\n"
    "# The same with TLS from the first byte (RFC 8314): what mail programs should be set to.\n"
    "listen submissions {\n"
    "    address 0.0.0.0:465\n"
    "    policy submission\n"
    "    tls implicit\n"
    "    auth required\n"
    "}\n"
    "\n"
    "# A machine with IPv6 listens there, too: the same blocks under names of their own.\n"
    "#listen mx6 {\n"
    "#    address [::]:25\n"
    "#    policy mx\n"
    "#    tls starttls\n"
    "#}\n"
    "\n"
    "# The commands that operate the server come by this socket; root and the server's user need no token.\n"
    "listen admin {\n"
    "    address unix:@SOCKET@\n"
    "    protocol http\n"
    "    access token\n"
    "}\n"
    "\n"
    "# The page and the API, for who comes from this machine and has a token (penfold token).\n"
    "listen web {\n"
    "    address 127.0.0.1:8025\n"
    "    protocol http\n"
    "    access token\n"
    "}\n"
    "\n"
    "# Without route blocks: accounts and aliases of our domains get their mail, unknown addresses are refused,\n"
    "# authenticated users may send to anywhere.  Another way for some of it, for instance all of it through a "
    "provider:\n"
    "#route out {\n"
    "#    auth yes\n"
    "#    action smarthost\n"
    "#    host smtp.example.net:587\n"
    "#    user \"name\"\n"
    "#    password_file \"@DIR@/smarthost.password\"\n"
    "#}\n"
    "\n"
    "# What the rules are meant to do, tried by penfold conf check.\n"
    "test no_open_relay {\n"
    "    from stranger@example.net\n"
    "    to stranger@example.com\n"
    "    expect \"reject 550\"\n"
    "}\n";

static const char records[] = "The DNS records to publish; what stands in <> is for you to fill in:\n"
                              "\n"
                              "  @HOSTNAME@.  A     <IPv4 address of this machine>\n"
                              "  @HOSTNAME@.  AAAA  <its IPv6 address, if it has one>\n"
                              "  @DOMAIN@.  MX    10 @HOSTNAME@.\n"
                              "  @DOMAIN@.  TXT   \"v=spf1 mx -all\"\n"
                              "  _dmarc.@DOMAIN@.  TXT   \"v=DMARC1; p=none; rua=mailto:postmaster@@DOMAIN@\"\n"
                              "\n"
                              "and with who gave you the address, its way back:\n"
                              "\n"
                              "  <IPv4 address of this machine>  PTR  @HOSTNAME@.\n"
                              "\n";

struct init {
    const struct cli_args *args;
    char domain[DNS_NAME_MAX + 1], hostname[DNS_NAME_MAX + 1];
    char dir[PATH_MAX], data[PATH_MAX], file[PATH_MAX], tls[PATH_MAX], cert[PATH_MAX], key[PATH_MAX], socket[PATH_MAX];
    const char *user;
};

/* ---- words in a template ---- */

static const char *word(const struct init *in, str name) {
    const struct {
        const char *name, *value;
    } rows[] = {
        {"DOMAIN", in->domain}, {"HOSTNAME", in->hostname}, {"DIR", in->dir},   {"DATA", in->data},
        {"FILE", in->file},     {"SOCKET", in->socket},     {"USER", in->user},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(name, str_of(rows[i].name)))
            return rows[i].value;
    return NULL;
}

/* An @ that begins no word stands for itself. */
static void fill(struct buf *out, const struct init *in, str text) {
    str head, rest, name;
    while (str_cut(&text, '@', &head)) {
        buf_add(out, head);
        rest = text;
        const char *value = str_cut(&rest, '@', &name) ? word(in, name) : NULL;
        buf_add(out, value ? str_of(value) : S("@"));
        if (value)
            text = rest;
    }
    buf_add(out, text);
}

/* ---- what is asked for ---- */

static bool take_name(const char *given, char out[DNS_NAME_MAX + 1]) {
    if (dns_name_check(str_of(given)) != OK)
        return false;
    size_t n = 0;
    for (; given[n]; n++)
        out[n] = char_lower(given[n]);
    out[n] = '\0';
    return true;
}

/* Absolute, and without what the configuration would have to quote. */
static bool take_path(const char *given, char out[PATH_MAX]) {
    char here[PATH_MAX];
    if (strpbrk(given, "\"\\\n"))
        return false;
    if (given[0] == '/')
        return snprintf(out, PATH_MAX, "%s", given) < PATH_MAX;
    return getcwd(here, sizeof here) && !strpbrk(here, "\"\\\n") &&
           snprintf(out, PATH_MAX, "%s/%s", here, given) < PATH_MAX;
}

static void default_data(char path[PATH_MAX]) {
    char home[PATH_MAX - 16];
    cli_conf_state_home(home, sizeof home);
    if (geteuid() == 0 || !*home)
        snprintf(path, PATH_MAX, "/var/lib/penfold");
    else
        snprintf(path, PATH_MAX, "%s-server", home);
}

static bool join(char out[PATH_MAX], const char *folder, const char *name) {
    return snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

static int take_names(struct init *in) {
    const struct cli_args *args = in->args;
    const char *hostname = cli_text(args, "hostname");
    char mail[DNS_NAME_MAX + 16];
    if (!take_name(args->operands[0], in->domain))
        return cli_usage_error(args->page,
                               "\"%.100s\" is no domain name (one with other letters is written as xn--...)",
                               args->operands[0]);
    snprintf(mail, sizeof mail, "mail.%s", in->domain);
    if (!take_name(hostname ? hostname : mail, in->hostname))
        return cli_usage_error(args->page, "--hostname: \"%.100s\" is no host name", hostname ? hostname : mail);
    in->user = cli_text(args, "user");
    return CLI_GO_ON;
}

static int take_paths(struct init *in) {
    const struct cli_args *args = in->args;
    const char *data = cli_text(args, "data");
    default_data(in->data);
    if (!take_path(cli_text(args, "dir"), in->dir) || (data && !take_path(data, in->data)))
        return cli_usage_error(args->page, "a path is too long, or has quotes, backslashes or line ends in it");
    bool fits = join(in->file, in->dir, "penfold.conf") && join(in->tls, in->dir, "tls") &&
                join(in->cert, in->tls, "cert.pem") && join(in->key, in->tls, "key.pem");
    fits = fits && (geteuid() == 0 ? snprintf(in->socket, PATH_MAX, "/run/penfold/admin.sock") < PATH_MAX
                                   : join(in->socket, in->data, "admin.sock"));
    return fits ? CLI_GO_ON : cli_usage_error(args->page, "a path is too long");
}

/* ---- files ---- */

static int refuse_to_overwrite(const struct init *in) {
    const char *const files[] = {in->file, in->cert, in->key};
    struct stat st;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (lstat(files[i], &st) == 0)
            return cli_error(in->args->page, EX_CANTCREAT,
                             "%s is there already, and nothing was changed: move it away first", files[i]);
    return CLI_GO_ON;
}

/* With its parents. */
static bool make_folder(const char *path, mode_t mode) {
    char space[PATH_MAX];
    snprintf(space, sizeof space, "%s", path);
    for (char *slash = strchr(space + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(space, 0755);
        *slash = '/';
    }
    return mkdir(space, mode) == 0 || errno == EEXIST;
}

static bool write_new(const char *path, str bytes, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return false;
    bool ok = write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n && fsync(fd) == 0;
    return close(fd) == 0 && ok;
}

static int cannot(const struct init *in, const char *path) {
    return cli_error(in->args->page, EX_CANTCREAT, "%s: %s", path, strerror(errno));
}

static int write_certificate(const struct init *in) {
    struct buf cert = BUF(64 * 1024), key = BUF(64 * 1024);
    struct why w;
    int status = CLI_GO_ON;
    if (tls_self_signed(str_of(in->hostname), &cert, &key, &w) != OK)
        status = cli_error(in->args->page, EX_SOFTWARE, "%s", w.text);
    else if (!write_new(in->key, buf_str(&key), 0600))
        status = cannot(in, in->key);
    else if (!write_new(in->cert, buf_str(&cert), 0644))
        status = cannot(in, in->cert);
    buf_free(&cert);
    buf_wipe(&key);
    return status;
}

static int write_configuration(const struct init *in) {
    struct buf text = BUF(CONF_FILE_MAX);
    fill(&text, in, str_of(configuration));
    int status = write_new(in->file, buf_str(&text), 0644) ? CLI_GO_ON : cannot(in, in->file);
    buf_free(&text);
    return status;
}

/* The folder of the socket: systemd makes it anew at every start, others need it once. */
static void make_socket_folder(const struct init *in) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", in->socket);
    *strrchr(folder, '/') = '\0';
    make_folder(folder, geteuid() == 0 ? 0755 : 0700);
}

static int write_files(const struct init *in) {
    int status = refuse_to_overwrite(in);
    if (status != CLI_GO_ON)
        return status;
    if (!make_folder(in->dir, 0755))
        return cannot(in, in->dir);
    if (!make_folder(in->tls, 0700))
        return cannot(in, in->tls);
    status = write_certificate(in);
    if (status == CLI_GO_ON)
        status = write_configuration(in); /* last: where it is, all of it is */
    if (status == CLI_GO_ON)
        make_socket_folder(in);
    return status;
}

/* ---- what is next ---- */

static int tell(const struct init *in) {
    struct buf out = BUF(64 * 1024);
    buf_printf(&out, "Written: %s\n         %s\n         %s\n\n", in->file, in->cert, in->key);
    fill(&out, in, str_of(records));
    buf_add(&out, S("Then:\n\n"));
    if (geteuid() == 0 && !getpwnam(in->user))
        buf_printf(&out, "  useradd --system --home-dir %s --shell /usr/sbin/nologin %s\n", in->data, in->user);
    buf_printf(&out, "  penfold conf check %s\n", in->file);
    buf_printf(&out, "  penfold serve -c %s\n\nand, while it runs:\n\n", in->file);
    buf_printf(&out, "  penfold account add postmaster@%s --url unix:%s\n\n", in->domain, in->socket);
    if (geteuid() != 0)
        buf_printf(&out,
                   "Ports below 1024 need root, or a rule of the system that lets you have them.\n"
                   "Commands that operate this server want PENFOLD_URL=unix:%s\n\n",
                   in->socket);
    buf_printf(&out,
               "Nobody has signed the certificate. For one that mail programs trust, let an ACME client write\n"
               "%s and %s, and reload.\n",
               in->cert, in->key);
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

int cmd_init(int argc, char **argv) {
    struct cli_args args;
    static struct init in;
    in.args = &args;
    int status = cli_parse(&cli_init_page, argc, argv, &args);
    if (status == CLI_GO_ON)
        status = take_names(&in);
    if (status == CLI_GO_ON)
        status = take_paths(&in);
    if (status == CLI_GO_ON)
        status = write_files(&in);
    if (status == CLI_GO_ON)
        status = tell(&in);
    cli_args_free(&args);
    return status;
}
