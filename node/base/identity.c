/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/identity.h"

#include "node/base/log.h"
#include "node/base/word.h"

#include <sodium.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEED_SIZE 32
#define CHECK_SIZE 8
#define PURPOSE_MAX 16
#define RING 8

struct identity {
	uint8_t sk[crypto_sign_SECRETKEYBYTES]; /* seed || public key */
	struct node_id id;
};

_Static_assert(SIGN_SIZE == crypto_sign_BYTES, "an Ed25519 signature");
_Static_assert(NODE_ID_SIZE == crypto_sign_PUBLICKEYBYTES, "a key");
_Static_assert(SEED_SIZE == crypto_sign_SEEDBYTES, "an Ed25519 seed");

/* Ids and names */

bool node_id_eq(const struct node_id *a, const struct node_id *b)
{
	return !memcmp(a->b, b->b, NODE_ID_SIZE);
}

int node_id_cmp(const struct node_id *a, const struct node_id *b)
{
	return memcmp(a->b, b->b, NODE_ID_SIZE);
}

/* Order and content are for ever: people write these names down. 128 each,
 * so that seven bits of the hash choose evenly. */
static const char animals[][10] = {
    "adder",   "ant",	   "auk",     "badger",	 "bat",	    "bear",   "beaver",
    "bee",     "beetle",   "bison",   "bittern", "boar",    "bream",  "buck",
    "bull",    "buzzard",  "camel",   "carp",	 "cat",	    "chough", "civet",
    "clam",    "cobra",	   "cod",     "colt",	 "coot",    "coral",  "cougar",
    "crab",    "crane",	   "cricket", "crow",	 "cuckoo",  "curlew", "deer",
    "dingo",   "dog",	   "dolphin", "dove",	 "drake",   "duck",   "dunlin",
    "eagle",   "eel",	   "egret",   "eland",	 "elk",	    "emu",    "falcon",
    "fawn",    "ferret",   "finch",   "fox",	 "frog",    "gannet", "gazelle",
    "gecko",   "gibbon",   "goat",    "goose",	 "grouse",  "gull",   "hare",
    "hawk",    "hedgehog", "heron",   "herring", "hornet",  "horse",  "ibex",
    "ibis",    "impala",   "jackdaw", "jay",	 "kestrel", "kite",   "kiwi",
    "koala",   "lamb",	   "lark",    "lemur",	 "lion",    "lizard", "llama",
    "lobster", "lynx",	   "magpie",  "mantis",	 "marten",  "mole",   "moose",
    "moth",    "mouse",	   "mule",    "newt",	 "ocelot",  "orca",   "oryx",
    "osprey",  "otter",	   "owl",     "ox",	 "panda",   "parrot", "perch",
    "petrel",  "pigeon",   "pike",    "plover",	 "pony",    "puffin", "quail",
    "rabbit",  "raven",	   "robin",   "salmon",	 "seal",    "shrew",  "snail",
    "sparrow", "squid",	   "stork",   "swan",	 "tapir",   "tern",   "toad",
    "turtle",  "wren",
};

static const char colours[][10] = {
    "agate",   "alder",	  "almond", "amber",   "apricot", "aqua",     "ash",
    "azure",   "bamboo",  "basalt", "beech",   "beige",	  "birch",    "black",
    "blue",    "bone",	  "brass",  "brick",   "bronze",  "brown",    "buff",
    "canvas",  "carbon",  "cedar",  "chalk",   "cherry",  "chrome",   "clay",
    "cobalt",  "cocoa",	  "copper", "cork",    "cotton",  "cream",    "crimson",
    "crystal", "cyan",	  "denim",  "ebony",   "elm",	  "emerald",  "felt",
    "fern",    "fir",	  "flax",   "flint",   "garnet",  "ginger",   "glass",
    "gold",    "granite", "grape",  "green",   "grey",	  "hazel",    "heather",
    "hemp",    "honey",	  "indigo", "iron",    "ivory",	  "ivy",      "jade",
    "jasper",  "jet",	  "jute",   "khaki",   "lava",	  "lead",     "leather",
    "lemon",   "lilac",	  "lime",   "linen",   "magenta", "mahogany", "maple",
    "marble",  "maroon",  "mauve",  "mint",    "moss",	  "navy",     "nickel",
    "oak",     "ochre",	  "olive",  "onyx",    "opal",	  "orange",   "paper",
    "peach",   "pearl",	  "pewter", "pine",    "pink",	  "plum",     "poplar",
    "purple",  "quartz",  "red",    "rose",    "rowan",	  "ruby",     "rust",
    "saffron", "sage",	  "sand",   "scarlet", "sepia",	  "silk",     "silver",
    "slate",   "steel",	  "stone",  "straw",   "tan",	  "teal",     "tin",
    "topaz",   "umber",	  "velvet", "violet",  "walnut",  "white",    "willow",
    "wool",    "zinc",
};

_Static_assert(HN_COUNT(animals) == 128, "seven bits");
_Static_assert(HN_COUNT(colours) == 128, "seven bits");

void node_name(const struct node_id *id, char out[static NODE_NAME_SIZE])
{
	uint8_t h[32];

	crypto_generichash(h, sizeof(h), id->b, NODE_ID_SIZE, NULL, 0);
	snprintf(out, NODE_NAME_SIZE, "%s-%s-%02x%02x", animals[h[0] & 127],
		 colours[h[1] & 127], h[2], h[3]);
}

static char *ring_next(void)
{
	static _Thread_local char ring[RING][NODE_ID_SIZE * 2 + 1];
	static _Thread_local unsigned next;

	return ring[next++ % RING];
}

const char *node_str(const struct node_id *id)
{
	char *s = ring_next();
	node_name(id, s);
	return s;
}

const char *node_hex(const struct node_id *id)
{
	char *s = ring_next();
	hex_encode(id->b, NODE_ID_SIZE, s);
	return s;
}

/* Key pairs */

static void sodium_ready(void)
{
	if (sodium_init() < 0) {
		fputs("hnode: libsodium cannot start on this machine\n",
		      stderr);
		abort();
	}
}

struct identity *identity_from_seed(const uint8_t seed[static SEED_SIZE])
{
	sodium_ready();
	struct identity *me = sodium_malloc(sizeof(*me));
	if (!me) {
		fputs("hnode: out of memory for a key\n", stderr);
		abort();
	}
	crypto_sign_seed_keypair(me->id.b, me->sk, seed);
	return me;
}

struct identity *identity_random(void)
{
	uint8_t seed[SEED_SIZE];

	sodium_ready();
	randombytes_buf(seed, sizeof(seed));
	struct identity *me = identity_from_seed(seed);
	sodium_memzero(seed, sizeof(seed));
	return me;
}

void identity_free(struct identity *me)
{
	sodium_free(me);
}

const struct node_id *identity_id(const struct identity *me)
{
	return &me->id;
}

void identity_noise_key(const struct identity *me, uint8_t out[static 32])
{
	int failed = crypto_sign_ed25519_sk_to_curve25519(out, me->sk);
	assert(!failed);
	(void)failed;
}

bool node_id_noise_key(const struct node_id *id, uint8_t out[static 32])
{
	return !crypto_sign_ed25519_pk_to_curve25519(out, id->b);
}

/* Signatures */

static uint8_t *signed_bytes(const char *purpose, const struct bytes *parts,
			     size_t n, size_t *len)
{
	size_t total = strlen(purpose) + 1;

	for (size_t i = 0; i < n; i++)
		total += parts[i].n;
	uint8_t *text = xmalloc(total), *p = text;
	memcpy(p, purpose, strlen(purpose) + 1);
	p += strlen(purpose) + 1;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].n)
			memcpy(p, parts[i].p, parts[i].n);
		p += parts[i].n;
	}
	*len = total;
	return text;
}

void identity_sign(const struct identity *me, const char *purpose,
		   const struct bytes *parts, size_t n,
		   uint8_t sig[static SIGN_SIZE])
{
	size_t len;
	uint8_t *text = signed_bytes(purpose, parts, n, &len);
	crypto_sign_detached(sig, NULL, text, len, me->sk);
	free(text);
}

bool node_id_verify(const struct node_id *id, const char *purpose,
		    const struct bytes *parts, size_t n,
		    const uint8_t sig[static SIGN_SIZE])
{
	size_t len;
	uint8_t *text = signed_bytes(purpose, parts, n, &len);
	bool good = !crypto_sign_verify_detached(sig, text, len, id->b);
	free(text);
	return good;
}

/* The key file */

#define FILE_MAGIC "hnode-key "
#define FILE_VERSION "1 "
#define FILE_HEAD (sizeof(FILE_MAGIC) - 1)
#define FILE_FULL (FILE_HEAD + sizeof(FILE_VERSION) - 1)
#define FILE_MAX 256

static void check_of(const char *purpose, const uint8_t seed[SEED_SIZE],
		     uint8_t out[CHECK_SIZE])
{
	static const char context[] = "hnode key 1";
	crypto_generichash_state st;
	uint8_t h[32];

	crypto_generichash_init(&st, NULL, 0, sizeof(h));
	crypto_generichash_update(&st, (const uint8_t *)context,
				  sizeof(context));
	crypto_generichash_update(&st, (const uint8_t *)purpose,
				  strlen(purpose) + 1);
	crypto_generichash_update(&st, seed, SEED_SIZE);
	crypto_generichash_final(&st, h, sizeof(h));
	memcpy(out, h, CHECK_SIZE);
	sodium_memzero(&st, sizeof(st));
	sodium_memzero(h, sizeof(h));
}

static void file_text(const struct identity *me, const char *purpose,
		      char text[FILE_MAX])
{
	char seed[SEED_SIZE * 2 + 1], check[CHECK_SIZE * 2 + 1];
	uint8_t sum[CHECK_SIZE];

	assert(*purpose && strlen(purpose) <= PURPOSE_MAX);
	check_of(purpose, me->sk, sum);
	hex_encode(me->sk, SEED_SIZE, seed);
	hex_encode(sum, CHECK_SIZE, check);
	snprintf(text, FILE_MAX, FILE_MAGIC FILE_VERSION "%s %s %s\n", purpose,
		 seed, check);
	sodium_memzero(seed, sizeof(seed));
}

/* What is wrong with the text, or NULL and the seed. */
static const char *file_parse(const char *text, size_t n, const char *purpose,
			      uint8_t seed[SEED_SIZE])
{
	char hex[SEED_SIZE * 2 + 1];
	uint8_t sum[CHECK_SIZE], want[CHECK_SIZE];

	memset(seed, 0, SEED_SIZE);
	if (!n)
		return "is empty";
	if (memcmp(text, FILE_MAGIC, n < FILE_HEAD ? n : FILE_HEAD) != 0)
		return "is not an hnode key file";
	if (n <= FILE_FULL)
		return "is cut short";
	if (memcmp(text, FILE_MAGIC FILE_VERSION, FILE_FULL) != 0)
		return "was written by a newer hnode";
	const char *p = text + FILE_FULL, *end = text + n;
	const char *space = memchr(p, ' ', (size_t)(end - p));
	if (!space)
		return "is cut short";
	if ((size_t)(space - p) != strlen(purpose) ||
	    memcmp(p, purpose, strlen(purpose)) != 0)
		return "holds a key for another purpose";
	p = space + 1;
	if ((size_t)(end - p) < SEED_SIZE * 2 + 1 + CHECK_SIZE * 2)
		return "is cut short";
	memcpy(hex, p, SEED_SIZE * 2);
	hex[SEED_SIZE * 2] = '\0';
	bool good = hex_decode(hex, seed, SEED_SIZE);
	sodium_memzero(hex, sizeof(hex));
	p += SEED_SIZE * 2 + 1;
	memcpy(hex, p, CHECK_SIZE * 2);
	hex[CHECK_SIZE * 2] = '\0';
	good = good && p[-1] == ' ' && hex_decode(hex, sum, CHECK_SIZE);
	p += CHECK_SIZE * 2;
	check_of(purpose, seed, want);
	if (!good || sodium_memcmp(sum, want, CHECK_SIZE) ||
	    (p != end && (*p != '\n' || p + 1 != end)))
		return "is damaged: its check does not fit";
	return NULL;
}

/* Only we may read it; whoever copied it meanwhile has it, which cannot be
 * mended here. */
static enum err file_mend(int fd, const struct stat *st, const char *path,
			  struct buf *why)
{
	if (!(st->st_mode & 077))
		return OK;
	if (fchmod(fd, 0600)) {
		buf_printf(why,
			   "%s may be read by others, and making it 0600 "
			   "failed: %s",
			   path, strerror(errno));
		return ERR_CONFIG;
	}
	log_debug("identity", "key file made private path=%s", log_quote(path));
	return OK;
}

/* ERR_NOTFOUND, without a sentence, when there is no file. */
static enum err file_read(const char *path, const char *purpose,
			  struct buf *why, uint8_t seed[SEED_SIZE])
{
	char text[FILE_MAX];
	struct stat st;
	ssize_t n;
	enum err e = ERR_IO;

	/* O_NONBLOCK: opening a pipe must not wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return ERR_NOTFOUND;
	if (fd < 0 || fstat(fd, &st)) {
		buf_printf(why, "the key file %s cannot be read: %s", path,
			   strerror(errno));
		goto out;
	}
	e = ERR_CONFIG;
	if (!S_ISREG(st.st_mode)) {
		buf_printf(why,
			   "%s should be a key file, but it is no "
			   "regular file",
			   path);
		goto out;
	}
	e = file_mend(fd, &st, path, why);
	if (e)
		goto out;
	/* The whole file fits; what fills the buffer is foreign. */
	n = read(fd, text, sizeof(text));
	if (n < 0) {
		buf_printf(why, "the key file %s cannot be read: %s", path,
			   strerror(errno));
		e = ERR_IO;
		goto out;
	}
	const char *wrong = file_parse(text, (size_t)n, purpose, seed);
	if (wrong) {
		buf_printf(why,
			   "the key file %s %s; a key of the kind %s is needed "
			   "here: restore it from a backup, or move the file "
			   "away to start with a new key",
			   path, wrong, purpose);
		e = ERR_CONFIG;
	}
out:
	sodium_memzero(text, sizeof(text));
	if (fd >= 0)
		close(fd);
	return e;
}

static bool write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

static bool sync_dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = !slash	    ? xstrdup(".")
		    : slash == path ? xstrdup("/")
				    : xstrndup(path, (size_t)(slash - path));
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	/* Some file systems cannot sync a directory and need not. */
	bool good = fd >= 0 && (!fsync(fd) || errno == EINVAL);
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	return good;
}

static bool rename_to(const char *tmp, const char *path, bool replace)
{
	if (replace)
		return !rename(tmp, path);
	if (!renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE))
		return true;
	/* A file system that does not know the flag. */
	return (errno == EINVAL || errno == ENOSYS) && !rename(tmp, path);
}

/* Without replace, ERR_EXISTS without a sentence when the file came about
 * meanwhile. mkostemp makes 0600. */
static enum err file_write(const struct identity *me, const char *path,
			   const char *purpose, bool replace, struct buf *why)
{
	char text[FILE_MAX];
	enum err e = OK;

	char *tmp = xasprintf("%s.XXXXXX", path);
	file_text(me, purpose, text);
	int fd = mkostemp(tmp, O_CLOEXEC);
	bool good = fd >= 0 && write_all(fd, text, strlen(text)) && !fsync(fd);
	int saved = errno;
	sodium_memzero(text, sizeof(text));
	if (fd >= 0)
		close(fd);
	errno = saved;
	if (good && rename_to(tmp, path, replace)) {
		good = sync_dir_of(path);
	} else {
		saved = errno;
		if (fd >= 0)
			unlink(tmp);
		errno = saved;
		e = good && errno == EEXIST ? ERR_EXISTS : OK;
		good = false;
	}
	if (!good && !e) {
		buf_printf(why, "the key file %s cannot be written: %s", path,
			   strerror(errno));
		e = ERR_IO;
	}
	free(tmp);
	return e;
}

enum err identity_save(const struct identity *me, const char *path,
		       const char *purpose, struct buf *why)
{
	return file_write(me, path, purpose, true, why);
}

static enum err load_existing(const char *path, const char *purpose,
			      struct buf *why, struct identity **out)
{
	uint8_t seed[SEED_SIZE];

	enum err e = file_read(path, purpose, why, seed);
	if (!e)
		*out = identity_from_seed(seed);
	sodium_memzero(seed, sizeof(seed));
	return e;
}

enum err identity_load(const char *path, const char *purpose, bool *fresh,
		       struct buf *why, struct identity **out)
{
	sodium_ready();
	enum err e = load_existing(path, purpose, why, out);
	if (!e)
		*fresh = false;
	if (e != ERR_NOTFOUND)
		return e;
	struct identity *me = identity_random();
	e = file_write(me, path, purpose, false, why);
	if (!e) {
		*fresh = true;
		*out = me;
		return OK;
	}
	identity_free(me);
	if (e != ERR_EXISTS)
		return e;
	/* Another process was faster: its key is the key. A link that leads
	 * nowhere exists too, and is not found. */
	e = load_existing(path, purpose, why, out);
	if (!e)
		*fresh = false;
	if (e == ERR_NOTFOUND) {
		buf_printf(why, "the key file %s is a link that leads nowhere",
			   path);
		e = ERR_CONFIG;
	}
	return e;
}

/* The exported word */

#define EXPORT_VERSION 1
#define EXPORT_OPS 4
#define EXPORT_LOG_MIB 6
#define OPS_MAX 16    /* a word from outside must not keep us for minutes */
#define LOG_MIB_MAX 9 /* nor take the machine's memory: 512 MiB */
#define SALT_AT 3
#define NONCE_AT (SALT_AT + crypto_pwhash_SALTBYTES)
#define SEALED_AT (NONCE_AT + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
#define EXPORT_SIZE \
	(SEALED_AT + SEED_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES)

_Static_assert(SEALED_AT == 43, "as identity.h says");

static enum err passphrase_key(const char *passphrase, const uint8_t *data,
			       uint8_t key[32])
{
	int failed = crypto_pwhash(
	    key, 32, passphrase, strlen(passphrase), data + SALT_AT, data[1],
	    (size_t)1 << (20 + data[2]), crypto_pwhash_ALG_ARGON2ID13);
	return failed ? ERR_LIMIT : OK;
}

enum err identity_export(const struct identity *me, const char *passphrase,
			 struct buf *out)
{
	uint8_t data[EXPORT_SIZE] = {EXPORT_VERSION, EXPORT_OPS,
				     EXPORT_LOG_MIB};
	uint8_t key[32];

	if (!*passphrase)
		return ERR_INPUT;
	sodium_ready();
	randombytes_buf(data + SALT_AT, SEALED_AT - SALT_AT);
	enum err e = passphrase_key(passphrase, data, key);
	if (e)
		return e;
	crypto_aead_xchacha20poly1305_ietf_encrypt(
	    data + SEALED_AT, NULL, me->sk, SEED_SIZE, data, SEALED_AT, NULL,
	    data + NONCE_AT, key);
	sodium_memzero(key, sizeof(key));
	word_encode(WORD_OWNER, data, sizeof(data), out);
	return OK;
}

static enum err unseal(const uint8_t data[EXPORT_SIZE], const char *passphrase,
		       struct buf *why, struct identity **out)
{
	uint8_t key[32], seed[SEED_SIZE];

	if (data[1] < 1 || data[1] > OPS_MAX || data[2] > LOG_MIB_MAX) {
		buf_add_str(why, "this owner key asks for more work or memory "
				 "than hnode allows");
		return ERR_LIMIT;
	}
	enum err e = passphrase_key(passphrase, data, key);
	if (e) {
		buf_printf(why,
			   "no memory: opening this owner key takes %u "
			   "MiB",
			   1u << data[2]);
		return e;
	}
	int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
	    seed, NULL, NULL, data + SEALED_AT, EXPORT_SIZE - SEALED_AT, data,
	    SEALED_AT, data + NONCE_AT, key);
	sodium_memzero(key, sizeof(key));
	if (failed) {
		buf_add_str(why, "the passphrase does not open this owner key");
		return ERR_CRYPTO;
	}
	*out = identity_from_seed(seed);
	sodium_memzero(seed, sizeof(seed));
	return OK;
}

enum err identity_import(const char *word, const char *passphrase,
			 struct buf *why, struct identity **out)
{
	struct buf data = {0};

	sodium_ready();
	enum err e = word_decode(WORD_OWNER, word, EXPORT_SIZE, &data, why);
	if (e)
		goto out;
	if (data.n && data.p[0] != EXPORT_VERSION) {
		buf_add_str(why, "this owner key was exported by a newer "
				 "hnode");
		e = ERR_INPUT;
	} else if (data.n != EXPORT_SIZE) {
		buf_add_str(why, "this owner key has the wrong length");
		e = ERR_INPUT;
	} else {
		e = unseal(data.p, passphrase, why, out);
	}
out:
	buf_release(&data);
	return e;
}
