# For scripts that read this with `.`: finds modules of the JDK that classes use by a name in a text.
#   used_modules                says them, each after a comma
# Given: the app's own classes in classes, in the work folder.
#
# A class file has its texts as they are, each after a byte that is seldom a letter. The formats of all languages but English are in
# jdk.localedata: an app uses them that names a language, or has texts in one. Most of the character sets of East Asia are in
# jdk.charsets. The names in libraries do not count: most know all languages, whatever the app does with them.
# shellcheck shell=sh

used_modules() {
    find classes -name '*.class' -exec grep -l 'java/util/Locale' {} + >/tmp/locales || true
    constants='CANADA|CANADA_FRENCH|CHINA|CHINESE|FRANCE|FRENCH|GERMAN|GERMANY|ITALIAN|ITALY|JAPAN|JAPANESE|KOREA|KOREAN|PRC|TAIWAN|UK'
    languages='ar|bg|cs|da|de|el|es|fi|fr|he|hi|hu|ja|ko|nb|nl|pl|pt|ro|ru|sv|tr|uk|zh'
    if names "($constants|forLanguageTag|($languages)([_-][A-Za-z]{2,4})?)$" </tmp/locales || texts; then printf ,jdk.localedata; fi
    find classes -name '*.class' >/tmp/classes
    if names '(Shift_JIS|windows-31j|EUC-JP|EUC-KR|EUC-TW|GBK|GB2312|GB18030|Big5|ISO-2022-|IBM[0-9]{3}|Cp[0-9]{3}|MS932)' </tmp/classes; then
        printf ,jdk.charsets
    fi
}

# Whether a text in one of the files that are read from standard input begins with what the expression $1 says.
names() {
    while read -r file; do
        if tr -c '[:print:]' '\n' <"$file" | grep -qE "^$1"; then return; fi
    done
    return 1
}

# Whether there are texts in a language, as ResourceBundle looks for them.
texts() { find classes -name '*_[a-z][a-z].properties' -o -name '*_[a-z][a-z]_[A-Z][A-Z].properties' | grep -qv '_en[._]'; }
