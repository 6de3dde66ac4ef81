/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_CONTROL_H
#define HN_MESH_CONTROL_H

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/identity.h"

/*
 * Where the control socket is (decision D12): DATA_DIR/control, or, when that
 * path is too long for a socket, RUNTIME_DIR/hnode-<8 digits of the id>, and
 * then DATA_DIR/control is a file that says so. Blocks shortly.
 */
#define CONTROL_PATH_MAX 100

/* The node: where to listen; writes the pointing file. ERR_CONFIG without a
 * runtime directory (NULL), ERR_IO. */
enum err control_place(const char *data_dir, const char *runtime_dir,
		       const struct node_id *id, struct buf *path,
		       struct buf *why) HN_CHECK;
/* The command line: where a node of this directory would listen. ERR_NONODE
 * when there is nothing. */
enum err control_find(const char *data_dir, struct buf *path) HN_CHECK;
/* A stopping node takes its traces away. */
void control_remove(const char *data_dir, const char *path);

#endif
