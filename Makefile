# Penfold: one GNU Makefile.
#   make            build/penfold and its roles          make run      install what is missing, build, start the sandbox
#   make test       all tests; the last line counts them  make lint     layout, layers, warnings, man pages
#   make fuzz       every fuzz target, FUZZ_SECONDS each   make bench    speed beside Postfix -> bench/RESULTS.md
#   make soak       crash, fault and fuzz tests in full    make fmt      settle the layout
#   make SAN=1 test the same under ASan and UBSan          make install  DESTDIR= PREFIX=/usr/local
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

PREFIX ?= /usr/local
VERSION := 0.1.0
SAN ?=
BUILD := build$(if $(SAN),-san)
CC := gcc
, := ,
# One short line for each step; `make V=1` shows the commands.
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-5s %s\n' $(1) $(2))
FUZZ_SECONDS ?= 30
JOBS := $(shell nproc)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wvla -Wundef \
        -Wimplicit-fallthrough -Wno-missing-field-initializers -Werror
CPPFLAGS := -D_GNU_SOURCE -DPENFOLD_VERSION='"$(VERSION)"' -Isrc -I$(BUILD)/gen
CFLAGS := -std=gnu17 -O2 -g -fno-strict-aliasing -fstack-protector-strong -fstack-clash-protection -fPIE $(WARN) \
          $(if $(SAN),-fsanitize=address$(,)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2)
LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=address$(,)undefined)

# What may be linked: libraries by name (pkg-config), modules by folder.
LIB_event   := -levent_core
LIB_tls     := -lssl -lcrypto
LIB_crypto  := -lcrypto
LIB_sqlite  := -lsqlite3
LIB_gsasl   := -lgsasl
LIB_icu     := -licuuc -licudata
LIB_xml     := -lxml2
LIB_curl    := -lcurl
LIB_json    := -ljansson
LIB_wslay   := -lwslay
LIB_zlib    := -lz
LIB_seccomp := -lseccomp
LIB_unbound := -lunbound
LIB_crypt   := -lcrypt
CPPFLAGS += $(shell pkg-config --cflags libxml-2.0 2>/dev/null)

MODULES := base crypto frame obs dns mime mailauth smtp conf policy queue sys store web
ROLES   := supervisor smtpd store httpd content delivery resolver keyd filter

# role: modules + libraries.  The link line is the first sandbox: keep it short.
USE_supervisor := sys conf obs frame base + event tls seccomp
USE_smtpd      := sys policy smtp mime mailauth dns crypto conf obs frame base + event tls gsasl seccomp icu
USE_store      := store queue policy sys smtp mime dns conf obs frame base + event sqlite seccomp icu
USE_httpd      := web policy sys smtp mime dns conf obs frame base + event crypto wslay json zlib seccomp icu
USE_content    := sys mime smtp conf obs frame base + event crypto xml icu seccomp
USE_delivery   := sys policy smtp mime mailauth dns crypto conf obs frame base + event tls gsasl seccomp icu
USE_resolver   := sys dns conf obs frame base + event unbound seccomp
USE_keyd       := sys mailauth conf obs frame base + event gsasl crypt seccomp
USE_filter     := sys policy smtp mime dns crypto conf obs frame base + event curl tls seccomp icu
USE_penfold    := store queue policy sys smtp mailauth mime dns crypto conf obs frame base + event tls gsasl curl json sqlite seccomp icu crypt
USE_test       := web store queue policy sys smtp mailauth mime dns crypto conf obs frame base + event tls gsasl curl json sqlite wslay zlib seccomp icu xml crypt unbound

before_plus = $(strip $(firstword $(subst +, ,$(subst $() ,_,$(USE_$(1))))))
MODS = $(subst _, ,$(call before_plus,$(1)))
LIBS = $(foreach l,$(subst _, ,$(word 2,$(subst +, ,$(subst $() ,_,$(USE_$(1)))))),$(LIB_$(l)))
archives = $(BUILD)/lib/role.a $(foreach m,$(call MODS,$(1)),$(BUILD)/lib/$(m).a)

not_tests = $(filter-out %_test.c %_fuzz.c,$(1))
objects = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(1))
ROLE_MAINS := $(ROLES:%=src/role/%.c)
SRC_role := $(filter-out $(ROLE_MAINS),$(call not_tests,$(wildcard src/role/*.c)))
SRC_cli  := $(call not_tests,$(wildcard src/cli/*.c))
$(foreach m,$(MODULES),$(eval SRC_$(m) := $(call not_tests,$(wildcard src/$(m)/*.c))))

# Packages first, then a make of its own: it finds what was just installed, and uses all cores.
sub = @$(MAKE) --no-print-directory -j$(JOBS)
all: deps-build
	$(sub) programs
programs: $(BUILD)/penfold $(ROLES:%=$(BUILD)/libexec/penfold/%)

.PHONY: all programs tests deps-build deps-test deps-run run test lint fuzz bench soak fmt install clean unit
deps-build:
	@tools/deps install build

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

define archive
$(BUILD)/lib/$(1).a: $(call objects,$(SRC_$(1))) $(if $(filter web,$(1)),$(BUILD)/obj/gen/assets.o)
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach m,$(MODULES) role,$(eval $(call archive,$(m))))

define role
$(BUILD)/libexec/penfold/$(1): $(BUILD)/obj/role/$(1).o $(call archives,$(1))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$(CC) $(LDFLAGS) -o $$@ $$< -Wl,--start-group $(call archives,$(1)) -Wl,--end-group $(call LIBS,$(1)) -lpthread
endef
$(foreach r,$(ROLES),$(eval $(call role,$(r))))

$(BUILD)/penfold: $(call objects,$(SRC_cli)) $(call archives,penfold)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(call objects,$(SRC_cli)) -Wl,--start-group $(call archives,penfold) -Wl,--end-group $(call LIBS,penfold) -lpthread

# The page: TypeScript to one script and one style, compressed, as a C table.
UI_SOURCES := $(shell find ui -path ui/node_modules -prune -o -type f -print 2>/dev/null)
ui/node_modules/.stamp: ui/package.json ui/package-lock.json
	$(Q)cd ui && npm ci --no-audit --no-fund --silent
	@touch $@
$(BUILD)/gen/assets.c: $(UI_SOURCES) ui/node_modules/.stamp tools/embed
	@mkdir -p $(@D)
	$(call say,PAGE,$@)
	$(Q)cd ui && node build.mjs $(abspath $(BUILD))/ui
	$(Q)tools/embed $(BUILD)/ui > $@
$(BUILD)/obj/gen/assets.o: $(BUILD)/gen/assets.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

# Tests.  x_test.c beside x.c is a cmocka program; x_fuzz.c a fuzz target whose corpus is replayed here.
UNIT := $(patsubst src/%_test.c,$(BUILD)/test/%_test,$(wildcard src/*/*_test.c))
FUZZERS := $(patsubst src/%_fuzz.c,%,$(wildcard src/*/*_fuzz.c))
REPLAY := $(FUZZERS:%=$(BUILD)/fuzz/%_fuzz)
CLI_TESTED := $(filter-out $(BUILD)/obj/cli/main.o,$(call objects,$(SRC_cli)))
test_link = $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(call archives,test) -Wl,--end-group $(call LIBS,test) -lpthread

$(BUILD)/test/%_test: $(BUILD)/obj/%_test.o $(call archives,test)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(test_link) -lcmocka
$(BUILD)/fuzz/%_fuzz: $(BUILD)/obj/%_fuzz.o $(BUILD)/obj/fuzz_replay.o $(call archives,test)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(test_link)
$(BUILD)/obj/fuzz_replay.o: tests/fuzz_replay.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
.SECONDARY:

tests: programs $(UNIT) $(REPLAY)
unit: $(UNIT)
	@for t in $(UNIT); do $$t || exit 1; done

deps-test:
	@tools/deps install build run test
	@tools/peers get $(BUILD)/peers
test: deps-test
	$(sub) tests
	@BUILD=$(BUILD) tools/run-tests
soak: deps-test
	$(sub) tests
	@BUILD=$(BUILD) SOAK=1 tools/run-tests

run: deps-run
	$(sub) programs
	@exec $(BUILD)/penfold sandbox
deps-run:
	@tools/deps install build run

lint:
	@tools/deps install build lint
	$(sub) $(BUILD)/penfold
	@tools/lint

fmt:
	clang-format -i $(wildcard src/*/*.[ch] bench/*.c tests/*.c)

fuzz:
	@tools/deps install build fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz $(FUZZERS)

bench:
	@tools/deps install build bench
	$(sub) programs $(BUILD)/bench/load
	@BUILD=$(BUILD) bench/run
$(BUILD)/bench/%: bench/%.c $(BUILD)/lib/base.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/lib/base.a $(LIB_tls) -lpthread

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/penfold $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/doc/penfold $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(BUILD)/penfold $(DESTDIR)$(PREFIX)/bin/penfold
	install -m 755 $(ROLES:%=$(BUILD)/libexec/penfold/%) $(DESTDIR)$(PREFIX)/libexec/penfold/
	install -m 644 $(wildcard man/*.1) $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(wildcard man/*.5) $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 README.md LICENSE NOTICE CHANGELOG.md ARCHITECTURE.md $(DESTDIR)$(PREFIX)/share/doc/penfold/
	install -D -m 644 packaging/penfold.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/penfold.conf
	sed 's|@PREFIX@|$(PREFIX)|g' packaging/penfold.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/penfold.service

clean:
	rm -rf build build-san build-fuzz

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
