/* Where the application waits for the GPU. Before it waits, what it has under
 * measurement ends, so that the pause after it is not counted; when it has
 * waited, what finished is booked, and pools are looked at: waiting is when
 * they shrink.
 */
#include "guest.h"
#include "launch.h"
#include "meter.h"
#include "pool.h"
#include "real.h"

static CUresult waited(CUresult result) {
  if (guest.state == GUEST_LIMITED) {
    meter_collect();
    pools_refresh();
  }
  return result;
}

static CUresult asked(CUresult result) {
  if (guest.state == GUEST_LIMITED) meter_collect();
  return result;
}

CUresult cuCtxSynchronize(void) {
  launch_close_all();
  return waited(real()->cuCtxSynchronize());
}

CUresult cuCtxSynchronize_v2(CUcontext context) {
  launch_close_all();
  return waited(real()->cuCtxSynchronize_v2(context));
}

CUresult cuStreamSynchronize(CUstream stream) {
  launch_close_all();
  return waited(real()->cuStreamSynchronize(stream));
}

CUresult cuStreamSynchronize_ptsz(CUstream stream) {
  launch_close_all();
  return waited(real()->cuStreamSynchronize_ptsz(stream));
}

CUresult cuEventSynchronize(CUevent event) {
  launch_close_all();
  return waited(real()->cuEventSynchronize(event));
}

CUresult cuMemcpyDtoH_v2(void *host, CUdeviceptr device, size_t size) {
  launch_close_all();
  return waited(real()->cuMemcpyDtoH_v2(host, device, size));
}

CUresult cuMemcpyDtoH_v2_ptds(void *host, CUdeviceptr device, size_t size) {
  launch_close_all();
  return waited(real()->cuMemcpyDtoH_v2_ptds(host, device, size));
}

/* Asking is waiting too, in a loop. */
CUresult cuStreamQuery(CUstream stream) {
  launch_close_all();
  return asked(real()->cuStreamQuery(stream));
}

CUresult cuStreamQuery_ptsz(CUstream stream) {
  launch_close_all();
  return asked(real()->cuStreamQuery_ptsz(stream));
}

CUresult cuEventQuery(CUevent event) {
  launch_close_all();
  return asked(real()->cuEventQuery(event));
}

/* A measure cannot end on a stream that is gone. */
CUresult cuStreamDestroy(CUstream stream) {
  launch_close_all();
  return asked(real()->cuStreamDestroy(stream));
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  launch_close_all();
  return asked(real()->cuStreamDestroy_v2(stream));
}
