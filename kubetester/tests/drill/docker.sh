#!/bin/sh
# Plays Docker and compose for the drill's tests. Its containers are files of one word, their state; what it was told
# is in `told`, what it does not want to do in `refuses`.
cd "$FAKE_DOCKER" || exit 1
[ "$1" = compose ] && shift
if grep -qx "$1" refuses 2>/dev/null; then
  echo "some noise" >&2
  echo "Error: $1 is refused" >&2
  exit 1
fi
# happened CONTAINER ACTION [SIGNAL]
happened() {
  printf '{"Action":"%s","Actor":{"ID":"%s","Attributes":{"signal":"%s"}},"timeNano":%s}\n' \
    "$2" "$1" "$3" "$(date +%s%N)" >>events
}
last() { for last; do :; done; echo "$last"; }
container=$(last "$@")
case "$1" in kill | start | stop | pause | unpause | up) echo "$*" >>told ;; esac
case "$1" in
version) ;;
ps) ls containers ;;
port) cat port ;;
inspect)
  shift
  [ "$1" = --format ] && { echo healthy; exit; }
  separator='['
  for id; do
    state=$(cat "containers/$id")
    running=true paused=false
    [ "$state" = exited ] && running=false
    [ "$state" = paused ] && paused=true
    printf '%s{"Id":"%s","Config":{"Hostname":"pod-%s"},"State":{"Running":%s,"Paused":%s}}' \
      "$separator" "$id" "$id" "$running" "$paused"
    separator=,
  done
  echo ']'
  ;;
kill) echo exited >"containers/$container"; happened "$container" kill 9 ;;
stop) echo exited >"containers/$container"; happened "$container" kill 15 ;;
start) echo running >"containers/$container"; happened "$container" start ;;
pause) echo paused >"containers/$container"; happened "$container" pause ;;
unpause) echo running >"containers/$container"; happened "$container" unpause ;;
up)
  for word; do case "$word" in *=*) wanted=${word#*=} ;; esac; done
  for id in 1 2 3 4 5; do
    if [ "$id" -gt "$wanted" ]; then
      [ -e "containers/$id" ] && { happened "$id" kill 15; rm "containers/$id"; }
    elif [ ! -e "containers/$id" ]; then
      echo running >"containers/$id"
      happened "$id" start
    fi
  done
  ;;
events) cat events; : >events ;;
*) echo "what is $*?" >&2; exit 1 ;;
esac
exit 0
