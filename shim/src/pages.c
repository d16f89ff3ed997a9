/* Creates, opens and checks the limits page and the usage page.
 *
 * Both are made under a temporary name and renamed, so that nobody ever maps
 * half a page. Whatever a file holds, opening it never does more harm than
 * -EPROTO.
 */
#define _GNU_SOURCE
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"

int pages_map(int fd, size_t size, int writable, void **out) {
  off_t length = lseek(fd, 0, SEEK_END);
  if (length < 0) return -errno;
  if ((size_t)length < size) return -EPROTO;
  void *at = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return -errno;
  *out = at;
  return 0;
}

int pages_limits_sound(const struct vgpu_limits *page) {
  return page->magic == VGPU_LIMITS_MAGIC && page->version == VGPU_REGION_VERSION &&
         page->size == sizeof *page && page->device_count <= VGPU_DEVICES_MAX;
}

int pages_usage_sound(const struct vgpu_usage *page) {
  return page->magic == VGPU_USAGE_MAGIC && page->version == VGPU_REGION_VERSION &&
         page->size == sizeof *page;
}

void pages_usage_format(struct vgpu_usage *page) {
  page->version = VGPU_REGION_VERSION;
  page->size = sizeof *page;
  page->magic = VGPU_USAGE_MAGIC;
}

/* Opens path, which must be a regular page of at least `size` bytes. */
static int open_page(const char *path, size_t size, int writable, void **page, int *fd) {
  *fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0) return -errno;
  int error = pages_map(*fd, size, writable, page);
  if (error) close(*fd);
  return error;
}

/* A file of `size` bytes under a name nobody else uses; its path goes to `temporary`. */
static int create_sized(const char *path, char *temporary, size_t space, size_t size, int *fd) {
  int length = snprintf(temporary, space, "%s.%d.new", path, (int)getpid());
  if (length < 0 || (size_t)length >= space) return -ENAMETOOLONG;
  *fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (*fd < 0) return -errno;
  return ftruncate(*fd, (off_t)size) ? -errno : 0;
}

static int finish(const char *temporary, const char *path, int fd, mode_t mode, int error) {
  if (!error && (fchmod(fd, mode) || rename(temporary, path))) error = -errno;
  if (error) unlink(temporary);
  close(fd);
  return error;
}

static void limits_format(struct vgpu_limits *page, const char *slice_id, uint32_t device_count) {
  page->version = VGPU_REGION_VERSION;
  page->size = sizeof *page;
  page->generation = 1;
  page->device_count = device_count;
  strncpy((char *)page->slice_id, slice_id, sizeof page->slice_id - 1);
  for (uint32_t i = 0; i < device_count; i++) page->devices[i].compute_percent = 1;
  page->magic = VGPU_LIMITS_MAGIC;
}

VGPU_API int vgpu_limits_create(const char *path, const char *slice_id, uint32_t device_count) {
  struct vgpu_limits *page;
  char temporary[4096];
  int fd;
  if (device_count > VGPU_DEVICES_MAX || !slice_id) return -EINVAL;
  if (!vgpu_limits_open(path, 0, &page)) return vgpu_limits_close(page);
  int error = create_sized(path, temporary, sizeof temporary, sizeof *page, &fd);
  if (error) return fd < 0 ? error : finish(temporary, path, fd, 0644, error);
  error = pages_map(fd, sizeof *page, 1, (void **)&page);
  if (!error) {
    limits_format(page, slice_id, device_count);
    vgpu_limits_close(page);
  }
  return finish(temporary, path, fd, 0644, error);
}

VGPU_API int vgpu_limits_open(const char *path, int writable, struct vgpu_limits **page) {
  int fd, error = open_page(path, sizeof **page, writable, (void **)page, &fd);
  if (error) return error;
  close(fd);
  if (pages_limits_sound(*page)) return 0;
  vgpu_limits_close(*page);
  return -EPROTO;
}

VGPU_API int vgpu_limits_close(struct vgpu_limits *page) {
  return munmap(page, sizeof *page) ? -errno : 0;
}

/* Blocks for what every process touches; a slot's come when it is claimed. */
static int usage_reserve(int fd, uint32_t device_count) {
  off_t end = (off_t)(offsetof(struct vgpu_usage, devices) +
                      device_count * sizeof(struct vgpu_usage_device));
  off_t shared = (off_t)offsetof(struct vgpu_usage, accounts[VGPU_SLOTS_MAX * VGPU_DEVICES_MAX]);
  if (fallocate(fd, 0, 0, end) || fallocate(fd, 0, shared, (off_t)sizeof(struct vgpu_usage) - shared))
    return errno == EOPNOTSUPP ? 0 : -errno;
  return 0;
}

VGPU_API int vgpu_usage_create(const char *path, uint32_t device_count) {
  struct vgpu_usage *page;
  char temporary[4096];
  int fd;
  if (device_count > VGPU_DEVICES_MAX) return -EINVAL;
  if (!vgpu_usage_open(path, &page, &fd)) return vgpu_usage_close(page, fd);
  int error = create_sized(path, temporary, sizeof temporary, sizeof *page, &fd);
  if (error) return fd < 0 ? error : finish(temporary, path, fd, 0666, error);
  error = usage_reserve(fd, device_count);
  if (!error) error = pages_map(fd, sizeof *page, 1, (void **)&page);
  if (!error) {
    pages_usage_format(page);
    munmap(page, sizeof *page);
  }
  return finish(temporary, path, fd, 0666, error);
}

static int usage_checked(const struct vgpu_usage *page) {
  struct guard guard;
  if (sigsetjmp(guard_arm(&guard), 0)) return -EFAULT;
  int sound = pages_usage_sound(page);
  guard_disarm(&guard);
  return sound ? 0 : -EPROTO;
}

VGPU_API int vgpu_usage_open(const char *path, struct vgpu_usage **page, int *fd) {
  int error = open_page(path, sizeof **page, 1, (void **)page, fd);
  if (error) return error;
  error = usage_checked(*page);
  if (error) vgpu_usage_close(*page, *fd);
  return error;
}

VGPU_API int vgpu_usage_close(struct vgpu_usage *page, int fd) {
  if (fd >= 0) close(fd);
  return munmap(page, sizeof *page) ? -errno : 0;
}
