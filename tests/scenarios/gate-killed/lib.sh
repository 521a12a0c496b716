# A hardpand of its own that is killed while it has a lot to tell. shellcheck shell=sh
. /hardpan-vm/scenarios/gate-survives/lib.sh
# Each execution is a record.
every_execution() { printf '[record]\nexec = "all"\n' >> $own/hardpand.toml; }
only_counted() { sed -i '/^\[record\]/,$d' $own/hardpand.toml; }
# Executions of the burst's program in aggregates.
counted() {
    grep '"action":"exec-aggregate"' $own_events | grep '"executable":"/usr/bin/hp-hello"' | grep '"name":"hp-flood"' |
        sed 's/.*"aggregate":{"count":\([0-9]*\).*/\1/' | awk '{ n += $1 } END { print n + 0 }'
}
burst_record='"action":"exec",.*"executable":"/usr/bin/hp-hello",.*"name":"hp-flood"'
executions() { own_count "$burst_record"; }
# Each by its process: a record more than that is one told twice.
different() { grep "$burst_record" $own_events | sed 's/.*"process":{"pid":[0-9]*,"entity_id":"\([^"]*\)".*/\1/' | sort -u | wc -l; }
# burst COUNT: so many executions in the background, and waits until some of them are recorded.
burst() {
    hp-flood "$1" /usr/bin/hp-hello > /tmp/burst 2>&1 &
    burst_pid=$!
    for i in $(seq 300); do
        test "$(executions)" -ge 20 && return 0
        sleep 0.2
    done
    return 1
}
# burst_is_over COUNT: all of them ran.
burst_is_over() {
    wait $burst_pid
    test "$(cat /tmp/burst)" = "$1"
}
# number NAME: of the ledger in the last stop record.
number() {
    grep '"action":"hardpand-stopped"' $own_events | tail -1 | sed 's/.*"ledger"://' | tr '{},' '\n' |
        sed -n "s/^\"$1\":\([0-9]*\)$/\1/p" | head -1
}
# accounted COUNT: each of so many executions is recorded, or was counted as lost. So may be what the scenario itself executed
# meanwhile.
accounted() {
    grep -o '"message":"hardpand (generation [^"]*' $own_events
    grep -o '"message":"hardpand stopped[^"]*' $own_events
    ran=$(different)
    echo "$ran of $1 executions are recorded, in $(executions) records; $(number lost) events were lost"
    test "$ran" -le "$1"
    # Nothing twice.
    test "$(executions)" -le "$1"
    test $((ran + $(number lost))) -ge "$1"
    test "$(number generated)" = $(($(number recorded) + $(number aggregated) + $(number lost)))
}
# Whatever happened, nothing stays that the next daemon would have to do with.
killed_over() {
    for pid in $(pidof hardpand); do kill -KILL $pid || true; done
    sleep 1
    # Where none runs, this takes the gate down.
    hardpan policy mode observe --state-dir $own/state --reason 'scenario over' || true
    gate_is_open
    rm -rf /etc/hardpan/policies $own /tmp/g /tmp/burst
}
