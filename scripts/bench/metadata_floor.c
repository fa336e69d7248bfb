/* A server that answers everything the same: what a request takes at least, on the machine that scripts/bench/metadata runs on. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 36\r\n\r\n11111111-2222-4333-8444-000000000001";

static int must(int result, const char *what) {
  if (result < 0) {
    perror(what);
    exit(1);
  }
  return result;
}

static void watch(int queue, int socket) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
  must(epoll_ctl(queue, EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
}

int main(void) {
  int one = 1, queue = must(epoll_create1(0), "epoll_create1"), listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = inet_addr("169.254.169.254")};
  must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "setsockopt");
  must(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
  must(listen(listener, 512), "listen");
  watch(queue, listener);
  for (;;) {
    struct epoll_event events[64];
    char request[65536];
    int count = epoll_wait(queue, events, 64, -1);
    for (int n = 0; n < count; n++) {
      int socket = events[n].data.fd;
      if (socket == listener) {
        int guest = must(accept(listener, NULL, NULL), "accept");
        setsockopt(guest, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(queue, guest);
      } else if (read(socket, request, sizeof request) <= 0 || write(socket, answer, sizeof answer - 1) < 0) {
        close(socket);
      }
    }
  }
}
