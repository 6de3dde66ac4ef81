/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_ERR_H
#define HN_BASE_ERR_H

#include <stddef.h>

/*
 * One list of error codes for the whole program: what the caller can do about
 * it, the name on the wire and in JSON, the exit code of the command line
 * (users' conventions, sysexits-like), the HTTP status, and the advice that is
 * printed. The numbers are wire values (rpc/PROTOCOL.md section 8): append
 * only.
 *
 * X(code, number, wire name, exit code, HTTP status, text)
 */
#define ERR_LIST(X) \
	X(OK, 0, "ok", 0, 200, "no error") \
	X(ERR_PROTO, 1, "protocol", 70, 502, "the peer broke the protocol") \
	X(ERR_LIMIT, 2, "limit", 1, 413, "a size limit was exceeded") \
	X(ERR_BUSY, 3, "busy", 75, 429, "busy, try again later") \
	X(ERR_TIMEOUT, 4, "timeout", 124, 504, "the time limit was reached") \
	X(ERR_CANCELED, 5, "canceled", 130, 499, "canceled") \
	X(ERR_GONE, 6, "gone", 75, 502, "the peer or device left") \
	X(ERR_NOTFOUND, 7, "not-found", 1, 404, "not found") \
	X(ERR_IO, 8, "io", 1, 500, "input or output failed") \
	X(ERR_CRYPTO, 9, "crypto", 77, 403, "a cryptographic check failed") \
	X(ERR_CONFIG, 10, "config", 78, 500, "bad configuration") \
	X(ERR_INPUT, 11, "bad-input", 64, 400, "bad input") \
	X(ERR_DENIED, 12, "denied", 77, 403, "not allowed") \
	X(ERR_NOPEER, 13, "no-peer", 75, 503, "no peer can do this") \
	X(ERR_DEVICE, 14, "device-fault", 1, 500, "a device failed") \
	X(ERR_EXPIRED, 15, "expired", 77, 403, "expired") \
	X(ERR_NOMETHOD, 16, "unknown-method", 1, 501, \
	  "the peer does not know this method") \
	X(ERR_EXISTS, 17, "exists", 1, 409, "it exists already") \
	X(ERR_NONODE, 18, "no-node", 69, 503, "no node is running here") \
	X(ERR_INTERNAL, 19, "internal", 70, 500, \
	  "internal error, please report")

enum err {
#define X(code, num, name, exit, http, text) code = num,
	ERR_LIST(X)
#undef X
};

#define HN_CHECK __attribute__((warn_unused_result))

/* All are total: an unknown number reads as ERR_INTERNAL. Static strings. */
const char *err_name(enum err e); /* the wire name, such as "bad-input" */
const char *err_str(enum err e);  /* a sentence for a person */
int err_exit(enum err e);	  /* the command line's exit code */
int err_http(enum err e);

/* The code with this wire name or number; ERR_INTERNAL when unknown. */
enum err err_from_name(const char *name);
enum err err_from_wire(unsigned long long number);

#endif
