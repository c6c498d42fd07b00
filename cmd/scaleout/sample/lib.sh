# What the packages share. Nothing but the shell itself is used, and mkdir where the folder is not there yet: the sample must
# run where there is nothing else.
set -eu

day=${PARAM_DAY%%[T ]*}
region=$PARAM_REGION
folder=$PROJECT_PARAM_OUTPUTFOLDER
raw=$folder/raw-$day-$region.csv
clean=$folder/clean-$day-$region.csv
sales=$folder/sales-$day-$region.csv

fail() {
	echo "$1" >&2
	exit 1
}

[ -d "$folder" ] || mkdir -p "$folder" || fail "OutputFolder $folder cannot be made on this machine"
